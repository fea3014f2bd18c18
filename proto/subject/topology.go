package subject

import (
	"fmt"
	"time"
)

// Topology is what a yard's bus is made of, as data: the bus package makes
// and checks it, the golden list in testdata shows it.
type Topology struct {
	// Shards is the number of ledger streams.
	Shards int `json:"shards"`
	// Sites are the places that have an executor user and a config stream.
	Sites []string `json:"sites"`
	// Replicas of each stream: 1 or 3.
	Replicas int `json:"replicas"`
	// ShardBytes bounds one shard's stream; zero means DefaultShardBytes.
	ShardBytes int64 `json:"shard_bytes"`
}

// DefaultShardBytes holds some 100,000 nodes with their events.
const DefaultShardBytes = 2 << 30

// The names of streams beside the shards, and of durable consumers.
const (
	StreamObservations = "OBS"
	StreamHistory      = "HISTORY"

	ConsumerPlanner = "planner"
	ConsumerRender  = "render"
)

// The lives of written-once messages. Nothing that is ever overwritten has
// one but jobs, whose withdrawal lives as long as the job did.
const (
	ReceiptTTL = 14 * 24 * time.Hour
	EventTTL   = 30 * 24 * time.Hour
	JobTTL     = 14 * 24 * time.Hour
	InputTTL   = 14 * 24 * time.Hour
)

const (
	duplicates   = 10 * time.Minute
	historyAge   = 365 * 24 * time.Hour
	historyBytes = 1 << 30
	configAge    = 24 * time.Hour
	configBytes  = 128 << 20
	observedAge  = 24 * time.Hour
	observeBytes = 128 << 20

	// PlannerAckWait is the fail-over time of inputs that a dead planner
	// held.
	PlannerAckWait = 3 * time.Second
	// PlannerPinned is the fail-over time of the planner itself.
	PlannerPinned = 2 * time.Second
	// WorkerAckWait is when a silent worker's job goes to another one.
	WorkerAckWait = 10 * time.Second

	plannerPending = 2000
	workerPending  = 1000
)

// ShardStream is the stream of a shard.
func ShardStream(shard int) string { return fmt.Sprintf("YM_%d", shard) }

// ConfigStream is the stream of a site's sealed configs.
func ConfigStream(site string) string { return "CFG_" + site }

// ConsumerVSphere is the durable consumer, and the user, of a site's
// executor.
func ConsumerVSphere(site string) string { return "vsphere-" + site }

// KindFilter is the subject filter for everything of a kind in a shard.
func KindFilter(shard int, kind Kind) string { return ledger(shard, string(kind), ">") }

// InputFilter is the subject filter for a shard's inputs.
func InputFilter(shard int) string { return ledger(shard, "in.>") }

// Stream is a stream's promise. Whatever is not named here is the server's
// default, and false or zero.
type Stream struct {
	Name              string
	Subjects          []string
	Replicas          int
	MaxBytes          int64
	MaxAge            time.Duration
	Duplicates        time.Duration
	MaxMsgsPerSubject int64
	AtomicPublish     bool
	MsgTTL            bool
	Rollup            bool
	DenyDelete        bool
	DiscardNew        bool
	Direct            bool
}

// Consumer is a durable pull consumer with explicit acks; MaxDeliver is
// never set: retries are the planner's.
type Consumer struct {
	Stream        string
	Name          string
	Filter        string
	AckWait       time.Duration
	MaxAckPending int
	// Pinned, if set, gives messages to one client at a time, until it has
	// been silent for so long.
	Pinned time.Duration
}

// Streams returns every stream of the topology.
func (t Topology) Streams() []Stream {
	var out []Stream
	// The history is copied by the planners, in batches: a stream that
	// sources the events writes and syncs them one by one, which took 40 % of
	// the ledger's throughput.
	history := Stream{
		Name: StreamHistory, Subjects: []string{historyRoot + ".>"}, Replicas: t.Replicas,
		MaxBytes: historyBytes, MaxAge: historyAge,
		AtomicPublish: true, Rollup: true, DenyDelete: true, Direct: true,
	}
	for k := range t.Shards {
		out = append(out, t.shard(k))
	}
	// Observations lie in a file too: a single server that is killed forgets
	// its streams in memory, and the services only check, never make them.
	out = append(out, history, Stream{
		Name: StreamObservations, Subjects: []string{"obs.>"}, Replicas: t.Replicas,
		MaxBytes: observeBytes, MaxAge: observedAge, MaxMsgsPerSubject: 1, Direct: true,
	})
	for _, site := range t.Sites {
		out = append(out, Stream{
			Name: ConfigStream(site), Subjects: []string{Config(site, ">")}, Replicas: t.Replicas,
			MaxBytes: configBytes, MaxAge: configAge, Rollup: true, DenyDelete: true, DiscardNew: true, Direct: true,
		})
	}
	return out
}

func (t Topology) shard(k int) Stream {
	maxBytes := t.ShardBytes
	if maxBytes == 0 {
		maxBytes = DefaultShardBytes
	}
	return Stream{
		Name: ShardStream(k), Subjects: []string{ledger(k, ">")}, Replicas: t.Replicas,
		MaxBytes: maxBytes, Duplicates: duplicates,
		AtomicPublish: true, MsgTTL: true, Rollup: true, DenyDelete: true, DiscardNew: true, Direct: true,
	}
}

// Consumers returns every durable consumer of the topology.
func (t Topology) Consumers() []Consumer {
	var out []Consumer
	for k := range t.Shards {
		out = append(
			out,
			Consumer{
				Stream: ShardStream(k), Name: ConsumerPlanner, Filter: InputFilter(k),
				AckWait: PlannerAckWait, MaxAckPending: plannerPending, Pinned: PlannerPinned,
			},
			worker(k, ConsumerRender, "render.>"),
		)
		for _, site := range t.Sites {
			out = append(out, worker(k, ConsumerVSphere(site), "vsphere."+site+".>"))
		}
	}
	return out
}

func worker(shard int, name, jobs string) Consumer {
	return Consumer{
		Stream: ShardStream(shard), Name: name, Filter: ledger(shard, "out.job", jobs),
		AckWait: WorkerAckWait, MaxAckPending: workerPending,
	}
}
