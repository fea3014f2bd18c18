package bus

import (
	"context"
	"time"

	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// HeartbeatInterval is how often a service says that it lives; one that was
// silent for three of them is taken for dead.
const HeartbeatInterval = 3 * time.Second

// Heartbeat publishes what state returns every few seconds until ctx ends.
// A lost one does no harm.
func Heartbeat(ctx context.Context, c *Conn, state func() wire.ServiceState) {
	tick := time.NewTicker(HeartbeatInterval)
	defer tick.Stop()
	for {
		beat(c, state())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func beat(c *Conn, s wire.ServiceState) {
	s.At = time.Now()
	m, err := wire.EncodeServiceState(s)
	if err != nil {
		c.log.Warn("heartbeat cannot be encoded", "err", err)
		return
	}
	to := subject.Observation(subject.YardScope, subject.ServiceScope, s.Service+"-"+subject.Token(s.Instance), subject.AspectService)
	if err := c.nc.PublishMsg(NewMsg(to, m)); err != nil && c.nc.IsConnected() {
		c.log.Warn("heartbeat was not sent", "err", err)
	}
}
