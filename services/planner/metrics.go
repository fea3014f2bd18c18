package planner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"yardmaster.dev/pkg/bus"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/proto/subject"
)

// streamEvery is how many status intervals lie between two looks at the
// streams.
const streamEvery = 5

var (
	readyBuckets = []float64{1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600}
	jobBuckets   = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800}
)

// The values of the outcome label.
const (
	outcomeSucceeded = "succeeded"
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
)

// stages are the states in which a job or a wait can be.
var stages = []plan.State{plan.Pending, plan.Rendering, plan.Provisioning, plan.Booting, plan.Joining, plan.Ready, plan.Restarting, plan.Rerunning, plan.Draining, plan.Deleting}

// metrics are moved by what the planner commits.
type metrics struct {
	timeToReady *prometheus.HistogramVec
	provisions  *prometheus.CounterVec
	stageTime   *prometheus.HistogramVec
	queueTime   *prometheus.HistogramVec
	retries     *prometheus.CounterVec
	failures    *prometheus.CounterVec
	poison      prometheus.Counter
	transitions prometheus.Counter
	batchTime   prometheus.Histogram
	streamMsgs  *prometheus.GaugeVec
	streamBytes *prometheus.GaugeVec
	streamLimit *prometheus.GaugeVec
	pending     *prometheus.GaugeVec
	ackPending  *prometheus.GaugeVec
	redelivered *prometheus.GaugeVec

	mu sync.Mutex
	// made is when the open job of a node was made; it is lost with the
	// process, and then that wait is not counted.
	made map[plan.JobRef]time.Time
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "yardmaster_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "yardmaster_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "yardmaster_" + name, Help: help, Buckets: buckets}, labels)
	}
	m := &metrics{
		timeToReady: histogram("node_time_to_ready_seconds", "From a node's creation to its being ready.", readyBuckets, "fleet", "pool", "backend"),
		provisions:  counter("node_provisions_total", "Nodes that became ready, failed or were given up before.", "fleet", "pool", "backend", "outcome"),
		stageTime:   histogram("job_stage_duration_seconds", "How long a worker took for a job.", jobBuckets, "stage", "backend", "outcome"),
		queueTime:   histogram("job_queue_duration_seconds", "From a job's making to a worker's beginning.", jobBuckets, "stage"),
		retries:     counter("job_retries_total", "Jobs that are tried again.", "stage", "reason"),
		failures:    counter("job_failures_total", "Jobs that were given up.", "stage", "reason"),
		poison: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yardmaster_ledger_poison_total", Help: "Inputs that no planner could decide on.",
		}),
		transitions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yardmaster_ledger_transitions_total", Help: "Events written.",
		}),
		batchTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "yardmaster_ledger_commit_duration_seconds", Help: "From the first decision of a batch to its acknowledgement.", Buckets: jobBuckets,
		}),
		streamMsgs:  gauge("nats_stream_messages", "Messages in a stream.", "stream"),
		streamBytes: gauge("nats_stream_bytes", "Bytes in a stream.", "stream"),
		streamLimit: gauge("nats_stream_limit_bytes", "Bytes that a stream may hold.", "stream"),
		pending:     gauge("nats_consumer_pending_messages", "Messages not delivered yet.", "stream", "consumer"),
		ackPending:  gauge("nats_consumer_ack_pending_messages", "Messages in work.", "stream", "consumer"),
		redelivered: gauge("nats_consumer_redelivered_messages", "Messages in work that were delivered before.", "stream", "consumer"),
		made:        map[plan.JobRef]time.Time{},
	}
	for _, stage := range stages {
		m.queueTime.WithLabelValues(string(stage))
		for _, r := range fault.Reasons {
			m.retries.WithLabelValues(string(stage), string(r.Reason))
			m.failures.WithLabelValues(string(stage), string(r.Reason))
		}
	}
	return m
}

func (m *metrics) register(to prometheus.Registerer, planners []*ledger.Planner) error {
	for _, c := range []prometheus.Collector{
		m.timeToReady, m.provisions, m.stageTime, m.queueTime, m.retries, m.failures, m.poison, m.transitions, m.batchTime,
		m.streamMsgs, m.streamBytes, m.streamLimit, m.pending, m.ackPending, m.redelivered, newInventory(planners),
	} {
		if err := to.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// committed counts what a batch holds.
func (m *metrics) committed(c ledger.Commit, node func(shard int, fleet, key string) *plan.Node) {
	m.poison.Add(float64(c.Poison))
	m.transitions.Add(float64(len(c.Events)))
	m.batchTime.Observe(c.Took.Seconds())
	for _, e := range c.Events {
		if e.Node != plan.FleetEvents {
			m.event(e, node(c.Shard, e.Fleet, e.Node))
		}
	}
	m.queued(c)
}

func (m *metrics) event(e *plan.Event, n *plan.Node) {
	reason := known(e.Reason)
	switch e.Fact { //nolint:exhaustive // the others move no counter
	case plan.FactTryFailed, plan.FactBusy, plan.FactGracePassed:
		m.retries.WithLabelValues(string(e.From), reason).Inc()
	case plan.FactGaveUp:
		m.failures.WithLabelValues(string(e.From), reason).Inc()
	}
	if e.Took > 0 {
		outcome := outcomeSucceeded
		if e.Reason != "" {
			outcome = outcomeFailed
		}
		m.stageTime.WithLabelValues(string(e.From), string(fleet.BackendVSphere), outcome).Observe(e.Took.Seconds())
	}
	if n != nil && e.From != e.To {
		m.moved(e, n)
	}
}

// moved counts the ends of provisioning.
func (m *metrics) moved(e *plan.Event, n *plan.Node) {
	switch {
	case e.From == plan.Restarting && (e.To == plan.Ready || e.To == plan.Failed): // it was provisioned long ago
	case e.To == plan.Ready:
		m.provisions.WithLabelValues(n.Fleet, n.Pool, string(fleet.BackendVSphere), outcomeSucceeded).Inc()
		if e.Incarnation == 1 {
			m.timeToReady.WithLabelValues(n.Fleet, n.Pool, string(fleet.BackendVSphere)).Observe(e.At.Sub(n.Created).Seconds())
		}
	case e.To == plan.Failed:
		m.provisions.WithLabelValues(n.Fleet, n.Pool, string(fleet.BackendVSphere), outcomeFailed).Inc()
	case e.Fact == plan.FactUnwanted && e.From != plan.Ready && e.From != plan.Draining && e.From != plan.Failed:
		m.provisions.WithLabelValues(n.Fleet, n.Pool, string(fleet.BackendVSphere), outcomeCancelled).Inc()
	}
}

// known keeps the reason label closed.
func known(r fault.Reason) string {
	for _, k := range fault.Reasons {
		if k.Reason == r {
			return string(r)
		}
	}
	return string(fault.Unknown)
}

// queued measures how long jobs waited for a worker.
func (m *metrics) queued(c ledger.Commit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, in := range c.Inputs {
		r := in.Result
		if r == nil {
			continue
		}
		for _, stage := range jobStage[r.Action] {
			ref := plan.JobRef{Worker: r.Worker, Fleet: in.Fleet, Node: r.Node, Number: r.Job}
			if at, ok := m.made[ref]; ok {
				delete(m.made, ref)
				m.queueTime.WithLabelValues(string(stage)).Observe(max(0, r.Started.Sub(at).Seconds()))
			}
		}
	}
	if len(c.Events) == 0 {
		return
	}
	at := c.Events[len(c.Events)-1].At
	for _, j := range c.Jobs {
		ref := j.JobRef
		ref.Site = ""
		m.made[ref] = at
	}
	if len(m.made) > maxMade {
		clear(m.made) // results that never came; a few waits go uncounted
	}
}

const maxMade = 200_000

// jobStage is the stage in which each action is a job.
var jobStage = map[plan.Action][]plan.State{
	plan.ActionRender: {plan.Rendering},
	plan.ActionCreate: {plan.Provisioning},
	plan.ActionBlank:  {plan.Ready},
	plan.ActionForget: {plan.Ready},
	plan.ActionResize: {plan.Ready, plan.Restarting},
	plan.ActionDelete: {plan.Deleting},
}

// observeStreams looks at the shards' streams and consumers.
func (m *metrics) observeStreams(ctx context.Context, conn *bus.Conn, planners []*ledger.Planner) {
	for _, p := range planners {
		name := subject.ShardStream(p.Status().Shard)
		call, cancel := context.WithTimeout(ctx, bus.CallTimeout)
		s, err := conn.JS().Stream(call, name)
		if err == nil {
			info := s.CachedInfo()
			m.streamMsgs.WithLabelValues(name).Set(float64(info.State.Msgs))
			m.streamBytes.WithLabelValues(name).Set(float64(info.State.Bytes))
			m.streamLimit.WithLabelValues(name).Set(float64(info.Config.MaxBytes))
		}
		if c, err := conn.JS().Consumer(call, name, subject.ConsumerPlanner); err == nil {
			info := c.CachedInfo()
			m.pending.WithLabelValues(name, info.Name).Set(float64(info.NumPending))
			m.ackPending.WithLabelValues(name, info.Name).Set(float64(info.NumAckPending))
			m.redelivered.WithLabelValues(name, info.Name).Set(float64(info.NumRedelivered))
		}
		cancel()
	}
}
