package fleet

import (
	"regexp"
	"slices"
	"time"
)

// Channels are Flatcar's release channels.
var Channels = []string{"stable", "beta", "alpha", "lts"}

var (
	osVersion   = regexp.MustCompile(`^[0-9]{1,6}\.[0-9]{1,4}\.[0-9]{1,4}$`)
	updateGroup = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	windowStart = regexp.MustCompile(`^((Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?([01][0-9]|2[0-3]):[0-5][0-9]$`)
)

func (c *checker) os(os OS) {
	if os.Channel != "" {
		c.oneOf("spec.os.channel", os.Channel, Channels)
	}
	if os.Version != "" && !osVersion.MatchString(os.Version) {
		c.add("spec.os.version", shown(os.Version)+" is not a Flatcar version", "write a release such as 4593.2.5")
	}
	if os.Updates != nil {
		c.updates(*os.Updates)
	}
}

// longestWindow is a week: locksmith's windows come again after it.
const longestWindow = 7 * 24 * time.Hour

func (c *checker) updates(u Updates) {
	const path = "spec.os.updates"
	if u == (Updates{}) {
		c.add(path, "says nothing", "write group, server, reboot, window or coordinator; without updates a version is a pin")
	}
	switch {
	case slices.Contains(Channels, u.Group) && u.Group == "lts":
		c.add(path+".group", "lts is a channel; its groups have a year", "write lts-2024")
	case u.Group != "" && !updateGroup.MatchString(u.Group):
		c.add(path+".group", shown(u.Group)+" is not an update group", "write stable, or lts-2024, or the id of a group of your own server")
	}
	if u.Server != "" {
		c.url(path+".server", u.Server, []string{"https", "http"})
	}
	if u.Reboot != "" {
		c.oneOf(path+".reboot", u.Reboot, []string{RebootAtOnce, RebootEtcdLock, RebootOff})
	}
	if u.Coordinator != "" {
		c.oneOf(path+".coordinator", u.Coordinator, []string{CoordinatorKured, CoordinatorFluo})
		if u.Reboot == RebootEtcdLock || u.Reboot == RebootAtOnce {
			c.add(path+".reboot", shown(u.Reboot)+" is locksmith's to do, which the coordinator replaces", "remove reboot, or coordinator")
		}
	}
	if u.Window != nil {
		c.window(path+".window", u)
	}
}

func (c *checker) window(path string, u Updates) {
	switch {
	case u.Coordinator != "":
		c.add(path, "is locksmith's, which the coordinator replaces", "set the window at "+u.Coordinator)
	case u.Reboot == RebootOff:
		c.add(path, "nodes never reboot for an update with reboot: off", "remove window, or reboot")
	}
	if !windowStart.MatchString(u.Window.Start) {
		c.add(path+".start", shown(u.Window.Start)+" is not a time of day", "write 04:00 or Thu 04:00")
	}
	if u.Window.Length.IsZero() {
		c.add(path+".length", "is missing", "write a duration such as 1h")
	}
	c.duration(path+".length", u.Window.Length, time.Minute, longestWindow)
}
