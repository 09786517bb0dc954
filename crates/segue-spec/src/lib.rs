//! Workflow text to a checked plan, with precise diagnostics.
