// Package ledger makes decisions durable: the loop between the pure core and
// JetStream.
//
// A [Mirror] remembers what the shard streams hold. A [Planner] takes the
// inputs of one shard, lets plan.Decide decide each on that memory, and
// writes records, events, jobs and receipts in one atomic batch whose
// records carry compare-and-set: two planners are safe, only slower. What
// waits is decided together, which is what makes it fast.
//
// Planner is the only writer of ym.<k>.st.> (but the seats), ym.<k>.out.>
// and ym.<k>.in.step.>. Nothing that was ever overwritten is purged or
// expires, and no input is decided before the memory has reached it.
package ledger
