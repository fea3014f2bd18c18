package vcenter

import (
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmware/govmomi/vim25/soap"

	"yardmaster.dev/pkg/executor"
	"yardmaster.dev/pkg/fault"
	"yardmaster.dev/pkg/fleet"
)

// backendLabel is our value of the label backend.
const backendLabel = "vsphere"

// operations are the SOAP methods that we call; others are counted as other,
// so that the label stays closed.
var operations = []string{
	"CloneVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task",
	"FindByUuid", "FindChild", "CreateFolder", "RetrievePropertiesEx", "ContinueRetrievePropertiesEx",
	"CreateContainerView", "DestroyView", "Login", "Logout",
	"CreateImportSpec", "ImportVApp", "HttpNfcLeaseProgress", "HttpNfcLeaseComplete", "CreateSnapshot_Task", "MarkAsTemplate", "other",
}

// taskOperations are the operations that vCenter runs as tasks.
var taskOperations = []string{"clone", "reconfigure", "power_on", "power_off", "destroy", "snapshot", "other"}

// Metrics are this package's metrics.
type Metrics struct {
	requests  *prometheus.HistogramVec
	logins    *prometheus.CounterVec
	tasks     *prometheus.GaugeVec
	free      *prometheus.GaugeVec
	capacity  *prometheus.GaugeVec
	imports   *prometheus.CounterVec
	budget    *prometheus.GaugeVec
	sessions  *prometheus.GaugeVec
	operation map[string]bool
}

// NewMetrics registers the metrics on r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "yardmaster_backend_request_duration_seconds",
			Help:    "How long calls to the backend took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"backend", "operation", "outcome"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yardmaster_vsphere_session_logins_total",
			Help: "Logins to vCenter; more than one per start means that sessions get lost.",
		}, []string{"outcome"}),
		tasks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_vsphere_tasks",
			Help: "Tasks of ours that vCenter has not ended.",
		}, []string{"operation", "state"}),
		free: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_vsphere_datastore_free_bytes",
			Help: "Free space of the datastores that we clone to.",
		}, []string{"datacenter", "datastore"}),
		capacity: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_vsphere_datastore_capacity_bytes",
			Help: "Capacity of the datastores that we clone to.",
		}, []string{"datacenter", "datastore"}),
		imports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yardmaster_image_imports_total",
			Help: "Imports of images that ended, by site and by how: done, or the reason why not.",
		}, []string{"site", "outcome"}),
		budget: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_vsphere_budget_places",
			Help: "Places for changes that a vCenter makes at once, by budget: how many there are (of each template and datastore, where it is about those), are used (of all together), and are waited for.",
		}, []string{"site", "budget", "state"}),
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_vsphere_sessions",
			Help: "Sessions that this process has at a vCenter, by interface; one of each is all that it needs.",
		}, []string{"site", "interface"}),
		operation: map[string]bool{},
	}
	m.requests = executor.Register(r, m.requests)
	m.logins = executor.Register(r, m.logins)
	m.tasks = executor.Register(r, m.tasks)
	m.free = executor.Register(r, m.free)
	m.capacity = executor.Register(r, m.capacity)
	m.imports = executor.Register(r, m.imports)
	m.budget = executor.Register(r, m.budget)
	m.sessions = executor.Register(r, m.sessions)
	for _, op := range operations {
		m.operation[op] = true
		for _, outcome := range []string{"succeeded", "failed"} {
			m.requests.WithLabelValues(backendLabel, op, outcome)
		}
	}
	for _, outcome := range []string{"succeeded", "refused", "failed"} {
		m.logins.WithLabelValues(outcome)
	}
	for _, op := range taskOperations {
		for _, state := range []string{"queued", "running"} {
			m.tasks.WithLabelValues(op, state)
		}
	}
	return m
}

// meters are the gauges of one site's budgets.
type meters struct {
	site  string
	gauge *prometheus.GaugeVec
}

// meter is what a gate shows of itself; those of all templates, and of all
// datastores, add up.
type meter struct{ used, waiting prometheus.Gauge }

func (m *Metrics) meters(site string) meters { return meters{site, m.budget} }

func (m meters) of(budget string) meter {
	return meter{
		used:    m.gauge.WithLabelValues(m.site, budget, "used"),
		waiting: m.gauge.WithLabelValues(m.site, budget, "waiting"),
	}
}

func (m meters) bounds(l fleet.Limits) {
	for budget, places := range map[string]int{
		budgetClones: l.Clones, budgetTemplate: l.PerTemplate, budgetDatastore: l.PerDatastore, budgetOperations: l.Operations,
	} {
		m.of(budget) // so that all of it shows from the start
		m.gauge.WithLabelValues(m.site, budget, "limit").Set(float64(places))
	}
}

func (m *Metrics) request(req soap.HasFault, took time.Duration, err error) {
	op := strings.TrimSuffix(reflect.TypeOf(req).Elem().Name(), "Body")
	if !m.operation[op] {
		op = "other"
	}
	outcome := "succeeded"
	if err != nil {
		outcome = "failed"
	}
	m.requests.WithLabelValues(backendLabel, op, outcome).Observe(took.Seconds())
}

func (m *Metrics) login(err error) {
	outcome := "succeeded"
	switch {
	case err == nil:
	case fault.Of(classify(err)).Reason == fault.LoginRefused:
		outcome = "refused"
	default:
		outcome = "failed"
	}
	m.logins.WithLabelValues(outcome).Inc()
}
