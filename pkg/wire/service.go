package wire

import (
	"time"

	ymv1 "yardmaster.dev/proto/yardmaster/v1"
)

// ServiceState is a service's heartbeat.
type ServiceState struct {
	Service  string
	Instance string
	Version  string
	// At is set by the sender's clock.
	At          time.Time
	ClockOffset time.Duration
	Scopes      []ServiceScope
	Trouble     string
}

// ServiceScope is a shard or site that an instance serves or stands by for.
type ServiceScope struct {
	// Name is shard-<k> or a site's name.
	Name   string
	Active bool
	// Breaker is closed, open or half-open; empty without one.
	Breaker        string
	BreakerMessage string
	// Datastores are those of a site, those in use first.
	Datastores []Datastore
}

// Datastore is how full a datastore is, in bytes.
type Datastore struct {
	Name           string
	Free, Capacity int64
	// Usable means that it is there and takes machines.
	Usable bool
}

// EncodeServiceState encodes a heartbeat.
func EncodeServiceState(s ServiceState) (Message, error) {
	m := &ymv1.ServiceState{
		Service: s.Service, Instance: s.Instance, Version: s.Version, At: stamp(s.At),
		ClockOffset: span(s.ClockOffset), Trouble: s.Trouble,
	}
	for _, scope := range s.Scopes {
		out := &ymv1.ServiceScope{
			Name: scope.Name, Active: scope.Active, Breaker: scope.Breaker, BreakerMessage: scope.BreakerMessage,
		}
		for _, d := range scope.Datastores {
			out.Datastores = append(out.Datastores, &ymv1.Datastore{Name: d.Name, Free: d.Free, Capacity: d.Capacity, Usable: d.Usable})
		}
		m.Scopes = append(m.Scopes, out)
	}
	return encode(TypeService, m, nil)
}

// DecodeServiceState reads what EncodeServiceState wrote.
func DecodeServiceState(typ, version string, body []byte) (ServiceState, error) {
	m, err := decodeAs[*ymv1.ServiceState](typ, version, body)
	if err != nil {
		return ServiceState{}, err
	}
	s := ServiceState{
		Service: m.GetService(), Instance: m.GetInstance(), Version: m.GetVersion(), At: when(m.GetAt()),
		ClockOffset: m.GetClockOffset().AsDuration(), Trouble: m.GetTrouble(),
	}
	for _, scope := range m.GetScopes() {
		out := ServiceScope{
			Name: scope.GetName(), Active: scope.GetActive(), Breaker: scope.GetBreaker(), BreakerMessage: scope.GetBreakerMessage(),
		}
		for _, d := range scope.GetDatastores() {
			out.Datastores = append(out.Datastores, Datastore{
				Name: d.GetName(), Free: d.GetFree(), Capacity: d.GetCapacity(), Usable: d.GetUsable(),
			})
		}
		s.Scopes = append(s.Scopes, out)
	}
	return s, nil
}
