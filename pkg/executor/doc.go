// Package executor drives jobs through a backend: it takes a job from the
// ledger, makes sure that it is still wanted and that this replica holds the
// site's seat, opens the sealed config, calls the [Backend], and reports what
// came of it.
//
// It writes two things: results, and the seat record of its site. It never
// decides; what a failure means for the node is the planner's business.
package executor
