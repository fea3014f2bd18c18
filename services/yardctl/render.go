package yardctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/specfile"
	"yardmaster.dev/services/yardctl/show"
)

// renderFlags are the flags of render.
type renderFlags struct {
	files       []string
	node        string
	explain     bool
	withSecrets bool
	ignition    bool
}

func (a *app) renderCommand() *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use: "render -f FILE --node NODE", GroupID: groupSpec, Short: "Show what a node would be given, without a yard",
		Long: `render makes a node's config on the spot as the renderer would: the merged
Ignition, the guestinfo keys and their sizes. Values that only a live yard knows
(UUID, phone-home token) and secrets are markers; --with-secrets reads the
secrets' files and variables here. An address is the one that a first fleet on
an empty Network would get, so the file must hold the Network, too.`,
		Example: `  yardctl render -f web.yaml --node web-edge-0
  yardctl render -f web.yaml --node web-edge-0 --explain
  yardctl render -f web.yaml --node edge-0 --ignition | jq .storage.files`,
		Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return a.render(f) },
	}
	filesFlag(cmd, &f.files)
	flags := cmd.Flags()
	flags.StringVar(&f.node, "node", "", "the node: fleet-pool-ordinal")
	flags.BoolVar(&f.explain, "explain", false, "say which layer gave each part")
	flags.BoolVar(&f.withSecrets, "with-secrets", false, "fill in the secrets' values")
	flags.BoolVar(&f.ignition, "ignition", false, "print the Ignition config (or user data) alone, as the node gets it")
	return cmd
}

func (a *app) render(f renderFlags) error {
	sources, err := a.read(f.files)
	if err != nil {
		return err
	}
	docs, err := a.check(sources)
	if err != nil {
		return err
	}
	doc, err := fleetOf(docs, f.node)
	if err != nil {
		return wrongInput(err)
	}
	var secrets map[string]string
	if f.withSecrets {
		if secrets, err = a.secrets(doc); err != nil {
			return err
		}
	}
	cfg, err := render.Offline(doc, networksOf(docs), f.node, secrets)
	if err != nil {
		return wrongInput(err)
	}
	switch {
	case f.ignition:
		_, err = fmt.Fprintf(a.env.Out, "%s\n", cfg.Ignition)
		return err
	case a.machine():
		return a.renderMachine(f.node, cfg)
	}
	a.renderScreen(f, cfg)
	return nil
}

// fleetOf picks the fleet of a node, or the only one.
func fleetOf(docs []*specfile.Parsed, node string) (*fleet.Fleet, error) {
	var fleets []*fleet.Fleet
	for _, d := range docs {
		if f, ok := d.Document.(*fleet.Fleet); ok {
			fleets = append(fleets, f)
		}
	}
	switch {
	case len(fleets) == 0:
		return nil, errors.New("the file holds no Fleet")
	case node == "":
		return nil, errors.New("which node? write --node " + exampleNode(fleets[0]))
	}
	best := fleets[0]
	for _, f := range fleets {
		// The longest name wins: web-edge before web.
		if strings.HasPrefix(node, f.Metadata.Name+"-") && (!strings.HasPrefix(node, best.Metadata.Name+"-") || len(f.Metadata.Name) > len(best.Metadata.Name)) {
			best = f
		}
	}
	return best, nil
}

func exampleNode(f *fleet.Fleet) string { return f.Metadata.Name + "-" + f.Spec.Pools[0].Name + "-0" }

func networksOf(docs []*specfile.Parsed) []*fleet.Network {
	var out []*fleet.Network
	for _, d := range docs {
		if n, ok := d.Document.(*fleet.Network); ok {
			out = append(out, n)
		}
	}
	return out
}

// secrets reads the values of a fleet's secrets where this process is.
func (a *app) secrets(f *fleet.Fleet) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(f.Spec.Secrets)) {
		s := f.Spec.Secrets[name]
		if s.Env != "" {
			out[name] = a.env.Getenv(s.Env)
			continue
		}
		content, err := os.ReadFile(s.File)
		if err != nil {
			return nil, fmt.Errorf("read secret %s: %w", name, err)
		}
		out[name] = strings.TrimRight(string(content), "\n")
	}
	return out, nil
}

// rendered is a node's config for machines.
type rendered struct {
	Node         string            `json:"node"`
	Digest       string            `json:"digest"`
	Size         int               `json:"size"`
	NetworkKargs string            `json:"networkKargs"`
	GuestInfo    map[string]string `json:"guestInfo"`
	Ignition     json.RawMessage   `json:"ignition"`
	UserData     string            `json:"userData,omitempty"`
	Provenance   []renderedPart    `json:"provenance"`
}

type renderedPart struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	Layers []string `json:"layers"`
}

func (a *app) renderMachine(node string, cfg *render.Config) error {
	out := rendered{
		Node: node, Digest: cfg.Digest, Size: cfg.Size, NetworkKargs: cfg.NetworkKargs,
		GuestInfo: cfg.GuestInfo(), Ignition: cfg.Ignition, Provenance: []renderedPart{},
	}
	if cfg.Opaque {
		out.Ignition, out.UserData = nil, string(cfg.Ignition)
	}
	for _, p := range cfg.Provenance {
		out.Provenance = append(out.Provenance, renderedPart(p))
	}
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("print the config: %w", err)
	}
	return a.emitJSON(body)
}

func (a *app) renderScreen(f renderFlags, cfg *render.Config) {
	const budget = render.MaxGuestInfo
	what := "config"
	if cfg.Opaque {
		what = "user data"
	}
	a.say("%-14s %s of %s, sha256 %s", f.node, what, show.Bytes(uint64(len(cfg.Ignition))), short(cfg.Digest))
	a.say("  guestinfo    %s of %s (%.1f %%)", show.Bytes(uint64(cfg.Size)), show.Bytes(budget), 100*float64(cfg.Size)/budget)
	keys := cfg.GuestInfo()
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a.say("    %-42s %s", key, show.Cut(keys[key], 52))
	}
	if f.explain {
		a.say("")
		g := grid{header: []string{"part", "name", "from"}}
		for _, p := range cfg.Provenance {
			g.rows = append(g.rows, []string{p.Kind, p.Name, strings.Join(p.Layers, ", then ")})
		}
		a.grid(g, "the config is empty")
		return
	}
	a.say("")
	a.say("see    --explain says which layer gave each part, --ignition prints the config")
}
