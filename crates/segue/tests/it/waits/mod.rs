//! What tasks wait for besides slots: checks, a person's answer, services; with real processes
//! and real answers.

mod approvals;
mod prechecks;
mod services;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A loopback server that answers `503` so many times, then `200`; its address, and how often
/// it was asked. It listens as long as the test process lives.
fn ill_for(times: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/health", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for caller in listener.incoming() {
            let Ok(mut caller) = caller else { return };
            let mut head = [0; 4096];
            if caller.read(&mut head).unwrap_or(0) == 0 {
                continue;
            }
            let ill = count.fetch_add(1, Ordering::SeqCst) < times;
            let status = if ill { "503 Later" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            // A caller that is gone has its answer some other way.
            let _ = caller.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}
