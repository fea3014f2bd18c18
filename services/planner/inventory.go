package planner

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"yardmaster.dev/pkg/ledger"
	"yardmaster.dev/pkg/plan"
)

// inventory shows what the active planners' memories hold, at the time of a
// scrape; a planner that stands by shows nothing but that, so that sums over
// replicas are right.
type inventory struct {
	planners []*ledger.Planner

	nodes, desired, outdated, generation, observed, paused, jobs, oldest, leader *prometheus.Desc
}

func newInventory(planners []*ledger.Planner) *inventory {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("yardmaster_"+name, help, labels, nil)
	}
	return &inventory{
		planners:   planners,
		nodes:      desc("pool_nodes", "Nodes of a pool by state.", "fleet", "pool", "state"),
		desired:    desc("pool_nodes_desired", "Nodes that a pool should have.", "fleet", "pool"),
		outdated:   desc("pool_nodes_outdated", "Nodes of a pool that wait to be replaced.", "fleet", "pool"),
		generation: desc("fleet_spec_generation", "Newest accepted revision of a fleet.", "fleet"),
		observed:   desc("fleet_spec_observed_generation", "Revision that every node of a fleet has reached.", "fleet"),
		paused:     desc("fleet_paused_timestamp_seconds", "Since when nothing is begun for a fleet; absent while it goes on.", "fleet"),
		jobs:       desc("jobs", "Jobs by stage: queued or running, waiting to be tried again, dead.", "stage", "state"),
		oldest:     desc("jobs_oldest_queued_timestamp_seconds", "When the oldest open job's stage began.", "stage"),
		leader:     desc("leader", "Whether this replica is the active one of its scope.", "service", "scope"),
	}
}

// Describe implements prometheus.Collector.
func (i *inventory) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{i.nodes, i.desired, i.outdated, i.generation, i.observed, i.paused, i.jobs, i.oldest, i.leader} {
		ch <- d
	}
}

// The values of the jobs metric's state label. The ledger does not know
// whether a worker has begun with a job.
const (
	jobQueued   = "queued"
	jobRetrying = "retrying"
	jobDead     = "dead"
)

type tally struct {
	jobs   map[plan.State]map[string]int
	oldest map[plan.State]time.Time
}

// Collect implements prometheus.Collector.
func (i *inventory) Collect(ch chan<- prometheus.Metric) {
	t := tally{jobs: map[plan.State]map[string]int{}, oldest: map[plan.State]time.Time{}}
	for _, s := range stages {
		t.jobs[s] = map[string]int{jobQueued: 0, jobRetrying: 0, jobDead: 0}
	}
	active := false
	for _, p := range i.planners {
		st := p.Status()
		value := 0.0
		if st.Active {
			value, active = 1, true
			p.View(func(w *plan.World) {
				for _, f := range w.Fleets() {
					if !f.Deleted {
						i.fleet(ch, w, f, t)
					}
				}
				t.dead(w)
			})
		}
		ch <- prometheus.MustNewConstMetric(i.leader, prometheus.GaugeValue, value, "planner", scope(st.Shard))
	}
	if !active {
		return
	}
	for stage, states := range t.jobs {
		for state, n := range states {
			ch <- prometheus.MustNewConstMetric(i.jobs, prometheus.GaugeValue, float64(n), string(stage), state)
		}
	}
	for stage, at := range t.oldest {
		ch <- prometheus.MustNewConstMetric(i.oldest, prometheus.GaugeValue, float64(at.UnixMilli())/1000, string(stage))
	}
}

func (i *inventory) fleet(ch chan<- prometheus.Metric, w *plan.World, f *plan.Fleet, t tally) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	gauge(i.generation, f.Revision, f.Name)
	gauge(i.observed, f.Settled, f.Name)
	if held := w.Paused(f.Name); held != nil {
		ch <- prometheus.MustNewConstMetric(i.paused, prometheus.GaugeValue, float64(held.PausedAt.UnixMilli())/1000, f.Name)
	}
	states := map[string]map[plan.State]int{}
	for n := range w.Nodes(f.Name) {
		if states[n.Pool] == nil {
			states[n.Pool] = map[plan.State]int{}
		}
		states[n.Pool][n.State]++
		t.node(n)
	}
	for _, p := range w.Pools(f.Name) {
		gauge(i.desired, p.Target, f.Name, p.Pool)
		gauge(i.outdated, p.Outdated, f.Name, p.Pool)
		for _, s := range plan.States() {
			if s != plan.Deleted {
				gauge(i.nodes, states[p.Pool][s], f.Name, p.Pool, string(s))
			}
		}
	}
}

// dead counts the dead letters that somebody should look at.
func (t tally) dead(w *plan.World) {
	for _, d := range w.DeadLetters() {
		n := w.Node(d.Fleet, d.Node)
		if skipped := n != nil && n.Skipped; t.jobs[d.Stage] != nil && !skipped {
			t.jobs[d.Stage][jobDead]++
		}
	}
}

func (t tally) node(n *plan.Node) {
	stage := n.State
	switch {
	case n.Job != nil && t.jobs[stage] != nil:
		t.jobs[stage][jobQueued]++
		if old, ok := t.oldest[stage]; !ok || n.Since.Before(old) {
			t.oldest[stage] = n.Since
		}
	case n.DueFor == plan.DueRetry && t.jobs[stage] != nil:
		t.jobs[stage][jobRetrying]++
	}
}
