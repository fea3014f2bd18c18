package plan

import (
	"strconv"
	"time"

	"yardmaster.dev/pkg/fault"
)

// State is a stage of a node's life; the words are those of the CLI, the
// metrics and the traces.
type State string

// The states.
const (
	Pending      State = "pending"
	Rendering    State = "rendering"
	Provisioning State = "provisioning"
	Booting      State = "booting"
	Joining      State = "joining"
	Ready        State = "ready"
	Restarting   State = "restarting"
	Rerunning    State = "rerunning"
	Draining     State = "draining"
	Deleting     State = "deleting"
	Deleted      State = "deleted"
	Failed       State = "failed"
	Preserved    State = "preserved"
)

// Goal is what the planner wants of a node's machine.
type Goal string

// The goals. Recycle removes the machine and then makes the next
// incarnation under the same name and addresses.
const (
	Present Goal = "present"
	Absent  Goal = "absent"
	Recycle Goal = "recycle"
)

// Worker is a kind of worker, as it stands in job subjects.
type Worker string

// The workers.
const (
	WorkerRender  Worker = "render"
	WorkerVSphere Worker = "vsphere"
)

// Action is what a job asks for.
type Action string

// The actions. Render and Forget are the renderer's, the others the
// vSphere executor's. Each is safe to repeat.
const (
	// ActionRender makes the node's sealed config.
	ActionRender Action = "render"
	// ActionForget blanks the sealed config after use.
	ActionForget Action = "forget"
	// ActionCreate makes the VM (or adopts it) and powers it on.
	ActionCreate Action = "create"
	// ActionBlank removes the config from guestinfo after the boot.
	ActionBlank Action = "blank"
	// ActionResize gives the VM the size that its pool wants: while it runs,
	// or with a restart if the job allows it.
	ActionResize Action = "resize"
	// ActionOffer puts the next config where the guest of a running VM finds
	// it.
	ActionOffer Action = "offer"
	// ActionDelete powers the VM off and removes it.
	ActionDelete Action = "delete"
)

// OpenJob is the one job of a node that has no result yet.
type OpenJob struct {
	// Number is the event that made it, and the last token of its subject.
	Number int64
	Worker Worker
	Site   string
	Action Action
	// Attempt counts from 1 within the incarnation's stage.
	Attempt int
	// Made is the Job's.
	Made int64
	// Withdrawn means that its subject was overwritten empty; a result may
	// still come, and the node waits for it until Due.
	Withdrawn bool
}

// Address is an address that a node holds by claim.
type Address struct {
	Network string
	// Addr is the IPv4 address, without prefix length.
	Addr string
}

// Node is the record of one node: all that the planner knows and nothing
// secret.
type Node struct {
	Fleet    string
	FleetUID string
	Pool     string
	Ordinal  int

	State State
	// Since is when State was entered.
	Since   time.Time
	Goal    Goal
	Created time.Time
	// Begun is when this incarnation had all that it needs to be made.
	Begun time.Time
	// ReadyAt is when this incarnation became ready.
	ReadyAt time.Time

	// Incarnation counts machines under this name from 1; Attempt counts
	// tries from 1 until the incarnation is ready, and then those of a chore
	// or of the removal. Boots counts the machines in a row that never became
	// ready: it outlives the incarnation, so that it bounds their number.
	Incarnation int
	Attempt     int
	Boots       int

	// Revision is the fleet revision that this incarnation is made from,
	// PoolHash the hash of its pool's definition there.
	Revision int
	PoolHash string

	// Event is the number of the node's newest event.
	Event int64
	Job   *OpenJob
	// Due is when the planner acts by itself, DueFor why; zero is never.
	Due    time.Time
	DueFor DueFor
	// Deadline is when the present stage's time is up; zero is never.
	Deadline time.Time

	// Reason, Message and Hint say why the node waits or failed; empty when
	// all is well.
	Reason  fault.Reason
	Message string
	Hint    string

	Site string
	// Domain is the failure domain of its pool that the node is in; empty if
	// the pool has none.
	Domain    string
	MAC       string
	Addresses []Address

	// ConfigDigest names the sealed config (sha256 of its clear text, hex),
	// ConfigSize its guestinfo size in bytes, TokenSHA256 the hash of the
	// phone-home token (hex).
	ConfigDigest string
	ConfigSize   int
	TokenSHA256  string
	// FormerToken is the hash of the token of the config that the guest
	// reported last, while another one is on its way to it; else empty.
	FormerToken string
	// Obeys means that the guest takes orders, as it said when it phoned home.
	Obeys bool

	// MachineID is the backend's reference, MachineUUID the instance UUID
	// that was asked for, GuestAddress what the guest reported.
	MachineID    string
	MachineUUID  string
	GuestAddress string
	OSVersion    string
	// Reported means that the guest gave its first sign of life; it may come
	// before the result of the job that made the machine.
	Reported bool
	// Chore is what is still to be done on a ready node, one after the
	// other: blank, then forget; or resize. On one whose guest is to run
	// another config it is render, then offer. Empty when nothing is left.
	Chore Action
	// Hot is what the machine takes while it runs, as its maker found.
	Hot Hot
	// Restarted is when the machine was switched on after the newest change of
	// its size, zero before; what was seen of it until then tells nothing.
	Restarted time.Time

	// Skipped means that a person said of a failed node: count without it.
	Skipped bool
	// Cancelled means that a person called the node's job back: it fails when
	// the job has ended.
	Cancelled bool

	// Trace is the W3C traceparent of the node's provisioning.
	Trace string
}

// Hot says what a machine takes while it runs.
type Hot struct{ CPU, Memory bool }

// DueFor says what a node's Due is for.
type DueFor string

// What a due time is for.
const (
	DueRetry    DueFor = "retry"    // the next attempt
	DueDeadline DueFor = "deadline" // the stage's time is up
	DueGrace    DueFor = "grace"    // a withdrawn job's last moment
	DueAddress  DueFor = "address"  // look for a free address again
	// DueResume has no time: the job begins when the fleet is resumed.
	DueResume DueFor = "resume"
)

// Key is the node's name within its fleet: pool-ordinal.
func (n *Node) Key() string { return NodeKey(n.Pool, n.Ordinal) }

// Name is the node's name in the yard and the VM's name.
func (n *Node) Name() string { return n.Fleet + "-" + n.Key() }

// NodeKey joins a pool's name and an ordinal.
func NodeKey(pool string, ordinal int) string { return pool + "-" + strconv.Itoa(ordinal) }
