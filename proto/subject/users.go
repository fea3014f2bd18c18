package subject

import "fmt"

// User is who may do what on the bus: exactly the subjects that its service
// needs. Everything that is not allowed is refused.
type User struct {
	Name string
	// Publish is allowed but for DenyPublish; Subscribe is its inbox.
	Publish     []string
	DenyPublish []string
	Subscribe   []string
}

// The names of users that are not bound to a site; an executor's user is
// ConsumerVSphere(site).
const (
	UserPlanner  = "planner"
	UserRenderer = "renderer"
	UserGateway  = "gateway"
	// UserAdmin makes and upgrades streams, consumers and the yard record.
	UserAdmin = "admin"
	// UserWatcher reads everything and writes nothing.
	UserWatcher = "watcher"
)

// InboxPrefix is the prefix of a user's own inbox, so that no service can
// listen to the answers that another one gets.
func InboxPrefix(user string) string { return "_INBOX_" + user }

// heartbeats is where services say that they live. The instance is within a
// token, so that one service could speak for another; only telemetry is
// made from it.
const heartbeats = "obs." + YardScope + "." + ServiceScope + ".*." + AspectService

// YardScope is the token that stands where a site or fleet would, for what
// belongs to the yard as a whole.
const YardScope = "_yard"

// Users returns every user of the topology.
func (t Topology) Users() []User {
	users := []User{t.planner(), t.renderer(), t.gateway()}
	for _, site := range t.Sites {
		users = append(users, t.vsphere(site))
	}
	users = append(
		users,
		t.watcher(),
		User{
			Name:      UserAdmin,
			Publish:   []string{"$JS.API.>", "$JS.ACK.>", Yard()},
			Subscribe: []string{inbox(UserAdmin)},
		},
	)
	return users
}

func (t Topology) planner() User {
	u := User{Name: UserPlanner, Subscribe: []string{inbox(UserPlanner)}}
	for k := range t.Shards {
		s := ShardStream(k)
		u.Publish = append(u.Publish, info(s), leaderGet(s))
		u.Publish = append(u.Publish, follow(s)...)
		u.Publish = append(
			u.Publish,
			"$JS.ACK."+s+"."+ConsumerPlanner+".>",
			"$JS.API.CONSUMER.UNPIN."+s+"."+ConsumerPlanner,
			ledger(k, "st.>"), ledger(k, "out.>"), ledger(k, "in.step.>"),
		)
		// A seat is its executor's, the yard record the administrator's.
		u.DenyPublish = append(u.DenyPublish, t.durables(k, ConsumerPlanner)...)
	}
	u.DenyPublish = append(u.DenyPublish, Seat(">"), Yard())
	u.Publish = append(u.Publish, leaderGet(StreamHistory), historyRoot+".>")
	u.Publish = append(u.Publish, directGet(ShardStream(0), Yard()), info(StreamObservations), heartbeats)
	u.Publish = append(u.Publish, follow(StreamObservations)...)
	return u
}

func (t Topology) renderer() User {
	u := User{Name: UserRenderer, Subscribe: []string{inbox(UserRenderer)}}
	for k := range t.Shards {
		s := ShardStream(k)
		u.Publish = append(u.Publish, work(s, ConsumerRender)...)
		u.Publish = append(
			u.Publish,
			directGet(s, ledger(k, "out.job.render.>")),
			directGet(s, ledger(k, "in.res.render.>")),
			directGet(s, KindFilter(k, KindRevision)),
			ledger(k, "in.res.render.>"),
		)
	}
	u.Publish = append(u.Publish, directGet(ShardStream(0), Seat("*")), directGet(ShardStream(0), Yard()), heartbeats)
	for _, site := range t.Sites {
		u.Publish = append(u.Publish, info(ConfigStream(site)), Config(site, "*"))
	}
	return u
}

func (t Topology) vsphere(site string) User {
	name := ConsumerVSphere(site)
	u := User{Name: name, Subscribe: []string{inbox(name), Ask(site, "*")}, Publish: []string{Answer(site, "*")}}
	for k := range t.Shards {
		s := ShardStream(k)
		u.Publish = append(u.Publish, work(s, name)...)
		u.Publish = append(
			u.Publish,
			directGet(s, ledger(k, "out.job.vsphere", site, ">")),
			directGet(s, ledger(k, "in.res.vsphere", site, ">")),
			ledger(k, "in.res.vsphere", site, ">"),
		)
	}
	zero, configs := ShardStream(0), ConfigStream(site)
	u.Publish = append(
		u.Publish,
		directGet(zero, Yard()), directGet(zero, Site(site)), directGet(zero, Seat(site)), Seat(site),
		info(configs), directGet(configs, Config(site, "*")),
		directGet(zero, Images(site)), SiteImages(site),
		Observation(site, "*", "*", AspectAddress), Observation(site, "*", "*", AspectLost),
		Observation(site, "*", "*", AspectGuestinfo), heartbeats,
	)
	return u
}

func (t Topology) gateway() User {
	u := User{
		Name: UserGateway, Subscribe: []string{inbox(UserGateway), Alive("*", "*"), Answer("*", "*")}, Publish: []string{Ask("*", "*")},
	}
	for k := range t.Shards {
		u.Publish = append(u.Publish, reads(ShardStream(k))...)
		u.Publish = append(u.Publish, batchGet(ShardStream(k)), ledger(k, "in.cmd.>"))
		u.DenyPublish = append(u.DenyPublish, t.durables(k, "")...)
	}
	u.Publish = append(u.Publish, reads(StreamHistory)...)
	u.Publish = append(u.Publish, reads(StreamObservations)...)
	u.Publish = append(u.Publish, heartbeats, Observation("*", "*", "*", AspectGuest), Alive("*", "*"))
	return u
}

func (t Topology) watcher() User {
	u := User{Name: UserWatcher, Subscribe: []string{inbox(UserWatcher)}}
	for k := range t.Shards {
		u.Publish = append(u.Publish, reads(ShardStream(k))...)
		u.DenyPublish = append(u.DenyPublish, t.durables(k, "")...)
	}
	u.Publish = append(u.Publish, reads(StreamHistory)...)
	u.Publish = append(u.Publish, reads(StreamObservations)...)
	return u
}

// durables lists what would let somebody change or drain the durable
// consumers of a shard, except for pulling from own.
func (t Topology) durables(shard int, own string) []string {
	s := ShardStream(shard)
	names := []string{ConsumerPlanner, ConsumerRender}
	for _, site := range t.Sites {
		names = append(names, ConsumerVSphere(site))
	}
	var out []string
	for _, name := range names {
		out = append(
			out,
			"$JS.API.CONSUMER.CREATE."+s+"."+name,
			"$JS.API.CONSUMER.CREATE."+s+"."+name+".>",
			"$JS.API.CONSUMER.DELETE."+s+"."+name,
		)
		if name != own {
			out = append(out, "$JS.API.CONSUMER.MSG.NEXT."+s+"."+name)
		}
	}
	return out
}

func inbox(user string) string { return InboxPrefix(user) + ".>" }

func info(stream string) string { return "$JS.API.STREAM.INFO." + stream }

// leaderGet reads from the stream's leader; the subject is in the body, so
// that it cannot be narrowed.
func leaderGet(stream string) string { return "$JS.API.STREAM.MSG.GET." + stream }

// batchGet reads many messages at once; the subjects are in the body, so
// that it cannot be narrowed.
func batchGet(stream string) string { return "$JS.API.DIRECT.GET." + stream }

func directGet(stream, subject string) string {
	return "$JS.API.DIRECT.GET." + stream + "." + subject
}

// follow is what an ordered consumer needs.
func follow(stream string) []string {
	var out []string
	for _, verb := range []string{"CREATE", "DELETE", "INFO", "MSG.NEXT"} {
		out = append(out, fmt.Sprintf("$JS.API.CONSUMER.%s.%s.>", verb, stream))
	}
	return out
}

func reads(stream string) []string {
	return append(follow(stream), info(stream), leaderGet(stream), directGet(stream, ">"))
}

// work is what pulling from a durable consumer needs.
func work(stream, consumer string) []string {
	return []string{
		info(stream),
		"$JS.API.CONSUMER.INFO." + stream + "." + consumer,
		"$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer,
		"$JS.ACK." + stream + "." + consumer + ".>",
	}
}
