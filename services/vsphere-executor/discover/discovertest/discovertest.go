// Package discovertest has a simulated vCenter to discover.
package discovertest

import (
	"crypto/tls"
	"net/url"
	"testing"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
)

// The only login of a Hall.
const (
	User     = "reader"
	Password = "s3cret"
)

// Hall is a simulated vCenter, or ESXi, that checks passwords.
type Hall struct {
	Host        string
	Fingerprint string
	Model       *simulator.Model
}

// New serves a model until the test ends. Models must not be made at the same
// time: the simulator writes global variables then.
func New(t *testing.T, model *simulator.Model) *Hall {
	t.Helper()
	if err := model.Create(); err != nil {
		t.Fatal(err)
	}
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{User: url.UserPassword(User, Password)}
	s := model.Service.NewServer()
	t.Cleanup(func() { s.Close(); model.Remove() })
	return &Hall{Host: s.URL.Host, Fingerprint: soap.ThumbprintSHA256(s.Certificate()), Model: model}
}

// NewVCenter is New of a vCenter with a little of everything.
func NewVCenter(t *testing.T) *Hall {
	t.Helper()
	return New(t, simulator.VPX())
}
