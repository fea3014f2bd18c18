package yardctl

import (
	"fmt"
	"strconv"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/services/yardctl/show"
)

// room prints what a plan needs and whether there is enough of it.
func (a *app) room(f *yardmasterv1.FleetPlan) {
	for i, r := range f.GetRoom() {
		label := ""
		if i == 0 {
			label = "room"
		}
		a.say("  %-11s %s", label, a.roomWords(r))
	}
}

func (a *app) roomWords(r *yardmasterv1.Room) string {
	amount := func(n int64) string {
		if r.GetUnit() == "bytes" {
			return show.Bytes(uint64(max(0, n)))
		}
		return strconv.FormatInt(n, 10)
	}
	of := r.GetOf()
	if r.GetUnit() != "bytes" {
		of = r.GetUnit() + " of " + of
	}
	needs := amount(r.GetNeeds())
	if n := r.GetUnsized(); n > 0 {
		needs += fmt.Sprintf(" and %s as large as the template's", show.Count(int(n), "disk"))
	}
	if r.GetUnknown() != "" {
		return fmt.Sprintf("%s: needs %s; unknown what is free: %s", of, needs, r.GetUnknown())
	}
	text := fmt.Sprintf("%s: %s free, needs %s", of, amount(r.GetFree()), needs)
	if r.GetShort() {
		text += a.palette.Paint(show.Red, "   not enough")
	}
	return text
}

// takes says how long a plan takes, by the past.
func takes(f *yardmasterv1.FleetPlan) string {
	if f.GetSamples() == 0 {
		return "unknown: no provision yet"
	}
	return fmt.Sprintf("about %s (median of the last %s: %s)", show.Duration(f.GetTakes().AsDuration()),
		show.Count(int(f.GetSamples()), "provision"), show.Duration(f.GetMedian().AsDuration()))
}
