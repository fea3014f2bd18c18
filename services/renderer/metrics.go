package renderer

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/plan"
)

// step is a part of the renderer's work.
type step string

const (
	stepCompile step = "compile" // a pool, once per revision
	stepNode    step = "node"    // one node's config, sealed and stored
)

// outcome is what became of a job.
type outcome string

const (
	outcomeDone       outcome = "done"
	outcomeFailed     outcome = "failed"
	outcomeHandedBack outcome = "handed_back"
)

// metrics are what the renderer counts.
type metrics struct {
	jobs      *prometheus.CounterVec
	failures  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	sizes     prometheus.Histogram
	busy      prometheus.Gauge
	idle      prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, slots int) (*metrics, error) {
	workers := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yardmaster_worker_slots", Help: "Jobs that a worker can do at once, by whether it does.",
	}, []string{"service", "state"})
	m := &metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yardmaster_render_jobs_total", Help: "Jobs of the renderer by what became of them.",
		}, []string{"action", "outcome"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yardmaster_render_failures_total", Help: "Failed jobs of the renderer by reason.",
		}, []string{"reason"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "yardmaster_render_duration_seconds", Help: "Time to compile a pool, and to make one node's config.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
		}, []string{"step"}),
		sizes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "yardmaster_render_config_bytes", Help: "Size of rendered configs as guestinfo takes them; the most is 49152.",
			Buckets: []float64{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 48 << 10},
		}),
		busy: workers.WithLabelValues("renderer", "busy"),
		idle: workers.WithLabelValues("renderer", "idle"),
	}
	for _, c := range []prometheus.Collector{m.jobs, m.failures, m.durations, m.sizes, workers} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the renderer's metrics: %w", err)
		}
	}
	m.idle.Set(float64(slots))
	for _, a := range []plan.Action{plan.ActionRender, plan.ActionForget} {
		for _, o := range []outcome{outcomeDone, outcomeFailed, outcomeHandedBack} {
			m.jobs.WithLabelValues(string(a), string(o))
		}
	}
	for _, r := range reasons {
		m.failures.WithLabelValues(string(r))
	}
	m.durations.WithLabelValues(string(stepCompile))
	m.durations.WithLabelValues(string(stepNode))
	return m, nil
}

// reasons are why a job of the renderer can fail.
var reasons = []fault.Reason{
	fault.ConfigRefused, fault.ConfigTooLarge, fault.SecretMissing, fault.BackendDown, fault.BackendBusy,
	fault.SpecUnsupported, fault.Timeout, fault.Unknown,
}

// time returns a function that notes how long it took until it is called.
func (m *metrics) time(s step) func() {
	started := time.Now()
	return func() { m.durations.WithLabelValues(string(s)).Observe(time.Since(started).Seconds()) }
}

// begin notes that a slot is busy until the returned function is called.
func (m *metrics) begin() func() {
	m.busy.Inc()
	m.idle.Dec()
	return func() {
		m.busy.Dec()
		m.idle.Inc()
	}
}

// end notes what became of a job.
func (m *metrics) end(job *plan.Job, result *plan.Result) {
	o := outcomeDone
	switch {
	case result == nil:
		o = outcomeHandedBack
	case result.Failure != nil:
		o = outcomeFailed
		m.failures.WithLabelValues(string(result.Failure.Reason)).Inc()
	}
	action := plan.ActionRender
	if job.Action == plan.ActionForget {
		action = plan.ActionForget
	}
	m.jobs.WithLabelValues(string(action), string(o)).Inc()
}
