package plan

import (
	"fmt"
	"time"
)

// told prints events, one line per node.
func (s *story) told(events []*Event) {
	var order []string
	facts := map[string]string{}
	for _, e := range events {
		k := e.Fleet + "-" + e.Node
		if e.Node == FleetEvents {
			k = e.Fleet
		}
		if _, ok := facts[k]; !ok {
			order = append(order, k)
		}
		facts[k] += " " + string(e.Fact)
		if e.Node == FleetEvents && e.Message != "" {
			facts[k] += " (" + e.Message + ")"
		}
		if e.Disrupted+e.Surged > 0 {
			facts[k] += fmt.Sprintf("[%dd %ds]", e.Disrupted, e.Surged)
		}
	}
	for _, k := range order {
		fmt.Fprintf(&s.out, "  %s:%s\n", k, facts[k])
	}
}

func (s *story) forecast(p Plan) {
	for _, d := range p.Disks {
		fmt.Fprintf(&s.out, "    needs %d GiB of %s/%s, %d disks of unknown size\n", d.Bytes>>30, d.Site, d.Datastore, d.Unsized)
	}
	if len(p.Changes) > 0 {
		f := p.Forecast
		fmt.Fprintf(&s.out, "    takes %s, by %d provisions of %s\n", f.Total, f.Samples, f.Median)
	}
}

func (s *story) documentPlan(p DocumentPlan) {
	if p.New {
		s.out.WriteString("  new\n")
	}
	for _, words := range append(append(lines(p.Causes), p.Effects...), p.Refusals...) {
		fmt.Fprintf(&s.out, "    %s\n", words)
	}
}

func (s *story) images(args []string) {
	if r := s.w.Images(args[0]); r != nil {
		for _, w := range r.Wanted {
			fmt.Fprintf(&s.out, "  %s from %s, asked at %s\n", w.Name, w.Location("/mirror/{channel}"), w.Asked.Format(time.TimeOnly))
		}
	}
}

func (s *story) addresses(args []string) {
	for _, r := range s.w.Addresses(args[0]) {
		fmt.Fprintf(&s.out, "  %s-%s %d %s", r.First, r.Last, r.Count, r.State)
		if c := r.Claim; c != nil {
			fmt.Fprintf(&s.out, " %s-%s %s", c.Fleet, c.Node, c.Why)
		}
		if r.Outside {
			s.out.WriteString(" outside")
		}
		s.out.WriteString("\n")
	}
}

func (s *story) show(_ []string) {
	f := s.w.Fleet(s.fleet)
	fmt.Fprintf(&s.out, "  fleet %s: revision %d, settled %d, targets %v", f.Name, f.Revision, f.Settled, f.Targets)
	if f.Deleted {
		s.out.WriteString(", deleted")
	}
	s.out.WriteString("\n" + s.table(s.fleet))
}

func (s *story) claims(_ []string) {
	for _, c := range s.w.Claims() {
		fmt.Fprintf(&s.out, "  %s %s: %s %s\n", c.Kind, c.Thing, c.Fleet, c.Node)
	}
}
