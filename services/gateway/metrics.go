package gateway

import (
	"context"
	"errors"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
)

// outcome is what became of a node's report.
type outcome string

const (
	homeStored      outcome = "stored"
	homeUnknown     outcome = "unknown_node"
	homeRefused     outcome = "wrong_token"
	homeMalformed   outcome = "malformed"
	homeUnavailable outcome = "unavailable"
	// homeTooOften is for the reports that come again and again only.
	homeTooOften outcome = "too_often"
)

// statuses are the HTTP answers to what nodes report, by outcome.
var statuses = map[outcome]int{
	homeStored:      http.StatusOK,
	homeUnknown:     http.StatusNotFound,
	homeRefused:     http.StatusUnauthorized,
	homeMalformed:   http.StatusBadRequest,
	homeUnavailable: http.StatusServiceUnavailable,
	homeTooOften:    http.StatusTooManyRequests,
}

func (o outcome) status() int { return statuses[o] }

// metrics are what the gateway counts.
type metrics struct {
	requests     *prometheus.CounterVec
	durations    *prometheus.HistogramVec
	phoneHomes   *prometheus.CounterVec
	guestReports *prometheus.CounterVec
	silent       *prometheus.GaugeVec
	watches      prometheus.Gauge
	cut          prometheus.Counter
	unsent       prometheus.Counter
	asOf         prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yardmaster_gateway_requests_total",
			Help: "Answered requests of the API.",
		}, []string{"method", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "yardmaster_gateway_request_duration_seconds",
			Help:    "Time to answer a request of the API; a watch counts when it ends.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30},
		}, []string{"method"}),
		phoneHomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yardmaster_gateway_phone_homes_total",
			Help: "Reports of booted nodes by what became of them.",
		}, []string{"outcome"}),
		guestReports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yardmaster_gateway_guest_reports_total",
			Help: "Reports of how guests are by what became of them.",
		}, []string{"outcome"}),
		silent: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "yardmaster_gateway_silent_nodes",
			Help: "Ready nodes whose guest used to report and has said nothing for five minutes.",
		}, []string{"fleet"}),
		watches: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yardmaster_gateway_watch_streams",
			Help: "Open watch streams.",
		}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yardmaster_gateway_watch_streams_cut_total",
			Help: "Watch streams ended because their reader was too slow.",
		}),
		unsent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yardmaster_gateway_commands_refused_total",
			Help: "Commands that could not be stored on the bus.",
		}),
		asOf: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yardmaster_gateway_read_model_timestamp_seconds",
			Help: "When the read model was last known to follow the bus.",
		}),
	}
	for o := range statuses { // a rate over a missing series shows nothing
		m.phoneHomes.WithLabelValues(string(o))
		m.guestReports.WithLabelValues(string(o))
	}
	r.MustRegister(m.requests, m.durations, m.phoneHomes, m.guestReports, m.silent, m.watches, m.cut, m.unsent, m.asOf)
	return m
}

// observed notes how old the read model is.
func (m *metrics) observed(asOf *atomic.Int64) {
	m.asOf.Set(float64(asOf.Load()) / float64(time.Second))
}

// silentNodes notes how many nodes of each fleet are silent.
func (m *metrics) silentNodes(count map[string]int) {
	m.silent.Reset()
	for fleet, n := range count {
		m.silent.WithLabelValues(fleet).Set(float64(n))
	}
}

// refused counts a request that was not let in, whatever it asked for: its
// path is a stranger's word and no label.
func (m *metrics) refused() {
	m.requests.WithLabelValues("refused", connect.CodeUnauthenticated.String()).Inc()
}

// observe counts a request of the API.
func (m *metrics) observe(procedure string, began time.Time, err error) {
	method := path.Base(procedure)
	code := "ok"
	switch {
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled.String()
	case err != nil:
		code = connect.CodeOf(err).String()
	}
	m.requests.WithLabelValues(method, code).Inc()
	m.durations.WithLabelValues(method).Observe(time.Since(began).Seconds())
}

// WrapUnary counts unary requests.
func (m *metrics) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		began := time.Now()
		resp, err := next(ctx, req)
		m.observe(req.Spec().Procedure, began, err)
		return resp, err
	}
}

// WrapStreamingClient changes nothing: the gateway is no client.
func (m *metrics) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler counts streams when they end.
func (m *metrics) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		began := time.Now()
		err := next(ctx, conn)
		m.observe(conn.Spec().Procedure, began, err)
		return err
	}
}
