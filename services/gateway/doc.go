// Package gateway is the front door: people, pipelines and autoscalers use
// its API by gRPC or JSON, and nodes report here that they booted.
//
// It owns nothing. What it is told becomes a command on the bus, which a
// planner decides; what it is asked it answers from a read model, a World
// that follows every shard of the ledger. Reads are stamped with their
// position, go on when the bus is away, and then say how old they are. The
// gateway never writes a record and never decides anything: the plan that it
// shows is computed by the planner's own function.
package gateway
