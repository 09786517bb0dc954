//! The driver: the one event loop that hosts the machines.
