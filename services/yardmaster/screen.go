package yardmaster

import (
	"fmt"
	"io"
	"time"
)

// screen is what a person at the terminal sees.
type screen struct {
	out   io.Writer
	began time.Time
}

func (s screen) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format+"\n", args...)
}

// up tells where things are.
func (s screen) up(o Options) {
	s.say("%-40s %6.1f s   data in %s, log in %s", "yard is up", time.Since(s.began).Seconds(), o.Dir, o.files().log())
	s.say("")
	s.say("  gateway    http://%-22s token in %s (yardctl finds it)", o.Gateway, o.files().token())
	s.say("  metrics    http://%s/metrics", o.Gateway)
	s.say("  nats       nats://%-22s users' keys in %s", o.NATS, o.files().users())
	s.say("  vcenter    https://%-21s simulated, user yard / yard", o.VCenter+"/sdk")
	s.say("  simulator  http://%-22s its health, and faults to switch on", o.Control)
	s.say("")
}

// next tells what to try.
func (s screen) next() {
	s.say("")
	s.say("try    bin/yardctl get nodes")
	s.say("       bin/yardctl scale web/edge 5")
	s.say("       bin/yardctl describe node web-edge-0")
	s.say("stop   Ctrl-C (everything is kept; the next make up goes on from here)")
}

func (s screen) stopped() {
	s.say("")
	s.say("stopped; everything is kept")
}
