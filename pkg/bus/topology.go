package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	"yardmaster.dev/proto/subject"
)

// Init makes or upgrades the streams, the consumers and the yard record; it
// needs the administrator's credentials. It never removes anything.
func Init(ctx context.Context, c *Conn, t subject.Topology) error {
	if t.Shards < 1 {
		return errors.New("init the bus: a yard has at least one shard")
	}
	if t.Replicas == 0 {
		t.Replicas = 1
	}
	for _, s := range t.Streams() {
		if err := makeStream(ctx, c, s); err != nil {
			return fmt.Errorf("make stream %s: %w", s.Name, err)
		}
	}
	for _, want := range t.Consumers() {
		if err := makeConsumer(ctx, c, want); err != nil {
			return fmt.Errorf("make consumer %s of %s: %w", want.Name, want.Stream, err)
		}
	}
	if err := initYard(ctx, c, t.Shards); err != nil {
		return fmt.Errorf("write the yard record: %w", err)
	}
	return nil
}

func makeStream(ctx context.Context, c *Conn, want subject.Stream) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	s, err := c.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = c.js.CreateStream(ctx, streamConfig(want))
		return err
	}
	if err != nil {
		return err
	}
	cfg := s.CachedInfo().Config
	if len(append(difference(want, cfg), sizes(want, cfg)...)) == 0 {
		return nil
	}
	_, err = c.js.UpdateStream(ctx, streamConfig(want))
	return err
}

// initTimeout is longer than that of other calls: a server on a busy disk
// takes its time to make a stream.
const initTimeout = 20 * time.Second

func makeConsumer(ctx context.Context, c *Conn, want subject.Consumer) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	_, err := c.js.CreateOrUpdateConsumer(ctx, want.Stream, consumerConfig(want))
	return err
}

func streamConfig(s subject.Stream) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Replicas: max(1, s.Replicas), MaxBytes: s.MaxBytes, MaxAge: s.MaxAge, Duplicates: s.Duplicates,
		MaxMsgsPerSubject:  orUnlimited(s.MaxMsgsPerSubject),
		AllowAtomicPublish: s.AtomicPublish, AllowMsgTTL: s.MsgTTL, AllowRollup: s.Rollup,
		DenyDelete: s.DenyDelete, AllowDirect: s.Direct, Discard: jetstream.DiscardOld,
	}
	if s.DiscardNew {
		cfg.Discard = jetstream.DiscardNew
	}
	return cfg
}

func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

func consumerConfig(c subject.Consumer) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable: c.Name, FilterSubject: c.Filter, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		MaxDeliver: -1, AckWait: c.AckWait, MaxAckPending: c.MaxAckPending,
	}
	if c.Pinned > 0 {
		cfg.PriorityPolicy, cfg.PriorityGroups, cfg.PinnedTTL = jetstream.PriorityPolicyPinned, []string{c.Name}, c.Pinned
	}
	return cfg
}

// difference says in which promises a stream is not what it should be.
// Sizes and replicas are the operator's choice and not compared.
func difference(want subject.Stream, got jetstream.StreamConfig) []string {
	w := streamConfig(want)
	var out []string
	differ := func(what string, want, got any) {
		if want != got {
			out = append(out, fmt.Sprintf("%s is %v, not %v", what, got, want))
		}
	}
	differ("subjects", strings.Join(w.Subjects, " "), strings.Join(got.Subjects, " "))
	differ("storage", w.Storage, got.Storage)
	differ("retention", w.Retention, got.Retention)
	differ("discard", w.Discard, got.Discard)
	differ("max_msgs_per_subject", w.MaxMsgsPerSubject, orUnlimited(got.MaxMsgsPerSubject))
	differ("allow_atomic", w.AllowAtomicPublish, got.AllowAtomicPublish)
	differ("allow_msg_ttl", w.AllowMsgTTL, got.AllowMsgTTL)
	differ("allow_rollup_hdrs", w.AllowRollup, got.AllowRollup)
	differ("allow_msg_schedules", w.AllowMsgSchedules, got.AllowMsgSchedules)
	differ("deny_delete", w.DenyDelete, got.DenyDelete)
	differ("deny_purge", w.DenyPurge, got.DenyPurge)
	differ("allow_direct", w.AllowDirect, got.AllowDirect)
	differ("max_age", w.MaxAge, got.MaxAge)
	differ("persist_mode", w.PersistMode, got.PersistMode)
	differ("sources", len(w.Sources), len(got.Sources))
	if want.DiscardNew && got.MaxBytes <= 0 {
		out = append(out, "max_bytes is not set, so that a full disk is met before a full stream")
	}
	return out
}

// sizes says where a stream has other sizes than the operator now asks for.
func sizes(want subject.Stream, got jetstream.StreamConfig) []string {
	var out []string
	if want.MaxBytes != got.MaxBytes {
		out = append(out, fmt.Sprintf("max_bytes is %d, not %d", got.MaxBytes, want.MaxBytes))
	}
	if max(1, want.Replicas) != got.Replicas {
		out = append(out, fmt.Sprintf("replicas is %d, not %d", got.Replicas, want.Replicas))
	}
	return out
}

func initYard(ctx context.Context, c *Conn, shards int) error {
	stored, err := c.Last(ctx, subject.ShardStream(0), subject.Yard())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	y := &plan.Yard{Format: wire.Format}
	var sequence uint64
	if stored != nil {
		if y, err = c.Yard(ctx); err != nil {
			return err
		}
		sequence = stored.Sequence
		if shards < y.Shards {
			return fmt.Errorf("the yard has %d shards; fleets cannot be moved out of one", y.Shards)
		}
		if y.Shards == shards {
			return nil
		}
	} else {
		y.UID = uuid.NewString()
	}
	next := *y
	next.Shards = shards
	m, err := wire.Record(&next, nil)
	if err != nil {
		return err
	}
	_, err = c.Publish(ctx, Rollup(Expect(NewMsg(subject.Yard(), m), sequence)))
	return err
}

// Check returns the yard record once the named streams are what the topology
// promises, and an error that shows every difference when they are not.
// Services call it when they start; they never mend anything.
func Check(ctx context.Context, c *Conn, streams ...string) (*plan.Yard, error) {
	yard, err := c.Yard(ctx)
	if err != nil {
		return nil, fmt.Errorf("this bus holds no yard, or does not answer; yardmaster bus init makes one: %w", err)
	}
	var sites []string
	for _, s := range streams {
		if site, ok := strings.CutPrefix(s, subject.ConfigStream("")); ok {
			sites = append(sites, site)
		}
	}
	var wrong []string
	for _, want := range (subject.Topology{Shards: yard.Shards, Sites: sites, Replicas: 1}).Streams() {
		if shard := strings.HasPrefix(want.Name, "YM_"); !shard && !slices.Contains(streams, want.Name) {
			continue
		}
		problems, err := checkStream(ctx, c, want)
		if err != nil {
			return nil, err
		}
		wrong = append(wrong, problems...)
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%w; run yardmaster bus upgrade:\n  %s", ErrTopology, strings.Join(wrong, "\n  "))
	}
	return yard, nil
}

// ErrTopology means that streams are not what this release rests on.
var ErrTopology = errors.New("the bus is not as this release needs it")

// Await is Check that waits while there is no yard yet; report is told why.
// A yard that is not as it should be is an error at once.
func Await(ctx context.Context, c *Conn, report func(error), streams ...string) (*plan.Yard, error) {
	for {
		yard, err := Check(ctx, c, streams...)
		if err == nil || errors.Is(err, ErrTopology) || ctx.Err() != nil {
			return yard, err
		}
		report(err)
		select {
		case <-ctx.Done():
			return nil, err
		case fatal := <-c.Failed():
			return nil, fatal
		case <-time.After(CallTimeout):
		}
	}
}

func checkStream(ctx context.Context, c *Conn, want subject.Stream) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	s, err := c.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return []string{"stream " + want.Name + " does not exist"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("check stream %s: %w", want.Name, err)
	}
	var out []string
	for _, d := range difference(want, s.CachedInfo().Config) {
		out = append(out, "stream "+want.Name+": "+d)
	}
	return out, nil
}
