// Package e2e drives the real binaries: kill tests of the ledger (ledger),
// of the whole yard (system), and measurements against peers (bench). The
// tests stand behind the build tag e2e, because they need minutes, a real
// nats-server process and, for power cuts, root; see `make e2e`.
package e2e
