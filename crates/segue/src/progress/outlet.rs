//! A stream that takes bytes at once and writes them from a thread of its own.
//!
//! When a write fails, as on a broken pipe, all that follows is dropped: nobody reads any more.
//! What waits is bounded by the run's own events.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The writing end. Dropping it waits until all is written.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: Option<Sender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Outlet {
    pub(super) fn new(sink: impl Write + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("outlet".to_owned());
        // Without a thread the receiver is dropped, and nothing is shown.
        let thread = thread.spawn(move || write_all(&receiver, sink)).ok();
        Self { sender: Some(sender), thread }
    }

    pub(super) fn send(&self, bytes: Vec<u8>) {
        if let Some(sender) = &self.sender {
            // Fails when the stream is closed: then nobody reads.
            let _ = sender.send(bytes);
        }
    }
}

fn write_all(receiver: &Receiver<Vec<u8>>, mut sink: impl Write) {
    while let Ok(mut bytes) = receiver.recv() {
        receiver.try_iter().take(1000).for_each(|more| bytes.extend(more));
        if sink.write_all(&bytes).and_then(|()| sink.flush()).is_err() {
            return;
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It panics only if the sink does.
            let _ = thread.join();
        }
    }
}
