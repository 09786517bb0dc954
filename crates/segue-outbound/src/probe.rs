//! Health probes: one GET, and the status it got.
//!
//! Redirects are not followed: an address that sends elsewhere has not said that it is well.
//! Proxies are those of the environment, but never for this machine itself.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error, Proxy};

/// Sends one GET to `url` and gives the status of the answer, which it waits for at most `limit`.
///
/// Cancel-safe: dropped, it leaves a thread that ends within `limit` and tells nobody.
///
/// # Errors
/// In one line, if there is no answer.
pub async fn get(url: String, limit: Duration) -> Result<u16, String> {
    let (answer, answered) = oneshot::channel();
    let work = move || {
        // Whoever asked may no longer care.
        let _ = answer.send(ask(&url, limit));
    };
    let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(work);
    thread.map_err(|error| format!("no thread could be started: {error}"))?;
    answered.await.unwrap_or_else(|_| Err("the request broke off".to_owned()))
}

fn ask(url: &str, limit: Duration) -> Result<u16, String> {
    let uri: Uri = url.parse().map_err(|error| format!("it is no address: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("segue/", env!("CARGO_PKG_VERSION")))
        .proxy(Proxy::try_from_env().filter(|_| !is_here(&uri)))
        .tls_config(tls)
        .build()
        .into();
    let answer = agent.get(uri).call().map_err(|error| in_words(error, limit))?;
    Ok(answer.status().as_u16())
}

/// Whether an address is of this machine.
fn is_here(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = |ip: std::net::IpAddr| ip.is_loopback();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(loopback)
}

fn in_words(error: Error, limit: Duration) -> String {
    match error {
        Error::Timeout(_) => format!("no answer within {} s", limit.as_secs_f64()),
        Error::HostNotFound => "there is no such host".to_owned(),
        Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "the connection was refused".to_owned()
        }
        Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    /// A listener that gives each caller the next of these answers; its address.
    fn serve(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut caller, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    caller.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                assert!(head.starts_with(b"GET /health HTTP/1.1\r\n"));
                caller.write_all(answer.as_bytes()).unwrap();
            }
        });
        format!("http://{address}/health")
    }

    #[tokio::test]
    async fn an_answer_is_its_status_and_no_redirect_is_followed() {
        let url = serve(&[
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
            "nonsense\r\n\r\n",
        ]);
        let second = Duration::from_secs(5);
        for status in [204, 503, 302] {
            assert_eq!(get(url.clone(), second).await, Ok(status));
        }
        assert!(get(url.clone(), second).await.is_err());
    }

    #[tokio::test]
    async fn silence_is_bounded_and_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let began = Instant::now();
        let silence = get(url.clone(), Duration::from_millis(200)).await;
        assert_eq!(silence, Err("no answer within 0.2 s".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(10));
        drop(listener);
        let refused = get(url, Duration::from_secs(5)).await;
        assert_eq!(refused, Err("the connection was refused".to_owned()));
    }

    #[tokio::test]
    async fn what_is_no_address_is_said_to_be_none() {
        for url in ["", "not an address", "ftp://127.0.0.1/"] {
            let answer = get(url.to_owned(), Duration::from_secs(1)).await;
            assert!(answer.is_err(), "{url}");
        }
    }

    #[test]
    fn this_machine_is_never_asked_through_a_proxy() {
        let here = |url: &str| is_here(&url.parse().unwrap());
        assert!(here("http://localhost:3001/health") && here("http://127.9.9.9/"));
        assert!(here("http://[::1]:80/") && here("http://db.localhost/"));
        assert!(!here("http://example.com/") && !here("https://localhost.example.com/"));
    }
}
