//! The thread that makes the journal durable, so that a slow disk never stops the loop.
//!
//! While one sync runs, the loop goes on appending; the next sync covers all of it.

use std::sync::mpsc;
use std::thread;

use segue_core::Seq;
use segue_journal::Syncer;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What the thread says after each sync: how far the journal is durable.
pub(crate) type Synced = std::io::Result<Seq>;

/// The loop's end of the thread. Dropping it ends the thread after the sync under way.
#[derive(Debug)]
pub(crate) struct SyncThread {
    wanted: mpsc::Sender<Seq>,
    synced: UnboundedReceiver<Synced>,
}

impl SyncThread {
    pub(crate) fn start(syncer: Syncer) -> std::io::Result<Self> {
        let (wanted, requests) = mpsc::channel();
        let (answers, synced) = unbounded_channel();
        thread::Builder::new()
            .name("segue-sync".to_owned())
            .spawn(move || serve(&syncer, &requests, &answers))?;
        Ok(Self { wanted, synced })
    }

    /// Asks that everything up to `seq`, already appended, becomes durable.
    pub(crate) fn request(&self, seq: Seq) {
        // A thread that is gone has said why; the loop reads that next.
        let _ = self.wanted.send(seq);
    }

    /// The next answer. Cancel-safe.
    pub(crate) async fn synced(&mut self) -> Synced {
        let gone = || std::io::Error::other("the sync thread is gone");
        self.synced.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

fn serve(syncer: &Syncer, requests: &mpsc::Receiver<Seq>, answers: &UnboundedSender<Synced>) {
    while let Ok(first) = requests.recv() {
        let seq = requests.try_iter().last().unwrap_or(first);
        let result = syncer.sync().map(|()| seq);
        let failed = result.is_err();
        if answers.send(result).is_err() || failed {
            return;
        }
    }
}
