//! Proves how a spool is shipped to folders: where to, when, and what becomes of it when the logging configuration changes.
