// Package vsphereexecutor is the vSphere executor: it carries out the jobs of
// one site in its vCenter and reports what it sees there.
//
// It writes its site's seat, results and observations; nothing else in the
// yard. It never decides: what a failure means is the planner's business.
package vsphereexecutor
