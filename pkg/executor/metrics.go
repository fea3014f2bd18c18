package executor

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of a Runner.
type Metrics struct {
	slots   *prometheus.GaugeVec
	up      *prometheus.GaugeVec
	leader  *prometheus.GaugeVec
	service string
}

// NewMetrics registers the metrics of a service's runners on r; runners of
// several sites in one process share them.
func NewMetrics(r prometheus.Registerer, service string) *Metrics {
	return &Metrics{
		service: service,
		slots: Register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_worker_slots",
			Help: "Jobs that a worker can do at once, by whether it does.",
		}, []string{"service", "state"})),
		up: Register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_backend_up",
			Help: "Whether the breaker lets jobs through to the backend.",
		}, []string{"backend", "endpoint"})),
		leader: Register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_leader",
			Help: "Whether this replica is the active one of its scope.",
		}, []string{"service", "scope"})),
	}
}

// Register registers c, or returns the collector that is registered already
// under the same description.
func Register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	err := r.Register(c)
	if err == nil {
		return c
	}
	if taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := taken.ExistingCollector.(C); ok {
			return existing
		}
	}
	panic(err) // two different metrics of one name: the first test shows it
}

func (m *Metrics) busy(by float64) {
	m.slots.WithLabelValues(m.service, "busy").Add(by)
	m.slots.WithLabelValues(m.service, "idle").Sub(by)
}
