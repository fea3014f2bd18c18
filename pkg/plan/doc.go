// Package plan is the pure core: it decides what must happen next. Values
// in, values out: no I/O, no clock, no randomness, no goroutine. The ledger
// makes its outcomes durable, the simulation in plan/simulate tries them.
package plan
