package plan

// Fact is what happened to a node; together with its State it decides what
// comes next (see moves.go).
type Fact string

// The facts.
const (
	FactCreated         Fact = "created"          // the plan made the node
	FactAdmitted        Fact = "admitted"         // budget and addresses are there
	FactRendered        Fact = "rendered"         // the sealed config exists
	FactConfigLost      Fact = "config_lost"      // the sealed config expired before use
	FactPlaced          Fact = "placed"           // the machine is on, its config waiting
	FactReported        Fact = "reported"         // first sign of life
	FactCheckPassed     Fact = "check_passed"     // the readiness check passed
	FactBlanked         Fact = "blanked"          // the config is gone from guestinfo
	FactForgotten       Fact = "forgotten"        // the sealed config is blank
	FactTryFailed       Fact = "try_failed"       // transient: tried again later
	FactBusy            Fact = "busy"             // backend busy: waits, costs no attempt
	FactRetryDue        Fact = "retry_due"        // the wait is over
	FactDeadlinePassed  Fact = "deadline_passed"  // the stage took too long
	FactGaveUp          Fact = "gave_up"          // permanent, or attempts used up
	FactMachineLost     Fact = "machine_lost"     // the machine vanished
	FactAddressTaken    Fact = "address_taken"    // somebody else uses the node's address
	FactResizing        Fact = "resizing"         // the machine's size is changed while it runs
	FactRestarting      Fact = "restarting"       // the machine's size is changed, with a restart
	FactResized         Fact = "resized"          // the machine has its new size
	FactRerunning       Fact = "rerunning"        // Ignition is to run again on the machine
	FactOffered         Fact = "offered"          // the next config waits for the guest
	FactHotRefused      Fact = "hot_refused"      // it does not take the change while it runs
	FactUnwanted        Fact = "unwanted"         // the plan removes the node
	FactOutdated        Fact = "outdated"         // the plan replaces the node
	FactDrained         Fact = "drained"          // nothing runs there any more
	FactRemoved         Fact = "removed"          // the machine is gone
	FactCleared         Fact = "cleared"          // the machine is gone, the next one may come
	FactRetryAsked      Fact = "retry_asked"      // a person said: try again
	FactJobWithdrawn    Fact = "job_withdrawn"    // the open job was called back
	FactSkipAsked       Fact = "skip_asked"       // a person said: count without it
	FactReplaceAsked    Fact = "replace_asked"    // a person said: make its machine anew
	FactPreserveAsked   Fact = "preserve_asked"   // a person said: keep its machine for inspection
	FactCancelAsked     Fact = "cancel_asked"     // a person said: stop what is under way
	FactGracePassed     Fact = "grace_passed"     // a withdrawn job gave no result
	FactRevisionChanged Fact = "revision_changed" // fleet: a new spec was accepted
	FactScaled          Fact = "scaled"           // fleet: a live target was set
	FactSettled         Fact = "settled"          // fleet: every node has reached the newest revision
	FactOrphanRemoved   Fact = "orphan_removed"   // fleet: a machine of nobody is removed
	FactPaused          Fact = "paused"           // fleet: nothing is begun from here on
	FactResumed         Fact = "resumed"          // fleet: it goes on
	FactFleetDeleted    Fact = "fleet_deleted"    // fleet: deletion was asked for
	FactFleetGone       Fact = "fleet_gone"       // fleet: its last node is deleted
)
