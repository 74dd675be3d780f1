"""Measures proxies against each other. Read `workloads` (what is asked), `rounds` (how it is run), `verdict` (what may be
printed and what must be reached), `table`; `legs`, `process` and `client` are how a process is started and read."""
