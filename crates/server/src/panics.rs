//! What the log says of a panic: the thread and the place in the code, in the form that all of the log has.
//!
//! Never what the panic says: text that is cut in the middle of a character is quoted by it, and that may be what somebody
//! has written in a room.

use std::panic::PanicHookInfo;
use std::thread;

/// From now on panics of all threads are told in the log, and nowhere else.
pub fn tell_in_log() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    tracing::error!(
        thread = thread.name().unwrap_or("without a name"),
        location = panic.location().map(tracing::field::display),
        "a thread has panicked"
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{self, Write};
    use std::panic::catch_unwind;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use tracing::subscriber::with_default;
    use tracing_subscriber::fmt::MakeWriter;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_panic_is_one_record_without_what_it_says() {
        let log = Log::default();
        let json = tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish();
        let panicking = || {
            let text = String::from("secr\u{e9}t");
            let cut = catch_unwind(|| text[..5].len());
            assert!(cut.is_err());
        };
        let before = std::panic::take_hook();
        super::tell_in_log();
        let thread = thread::Builder::new().name("planted".to_owned());
        thread.spawn(move || with_default(json, panicking)).unwrap().join().unwrap();
        std::panic::set_hook(before);
        let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(told.lines().count(), 1, "{told}");
        let record: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&record["level"], &record["message"], &record["thread"]),
            (&"ERROR".into(), &"a thread has panicked".into(), &"planted".into())
        );
        assert!(record["location"].as_str().unwrap().contains("panics.rs:"), "{told}");
        assert!(!told.contains("secr"), "{told}");
    }
}
