package render

import (
	"slices"

	"github.com/coreos/ignition/v2/config/v3_4/types"
)

// Source says which layers gave a part of a node's config, in their order:
// where they disagree the last one won.
type Source struct {
	// Kind is file, directory, link, unit, drop-in, user, group or
	// kernel-argument.
	Kind string
	// Name is a path or a name.
	Name string
	// Layers are role base, spec.config[1].butane and so on.
	Layers []string
}

type part struct{ kind, name string }

// sources collects what each layer gives.
type sources struct {
	labels map[part][]string
}

func (s *sources) add(cfg *types.Config, label string) {
	if s.labels == nil {
		s.labels = map[part][]string{}
	}
	for _, p := range parts(cfg) {
		if have := s.labels[p]; !slices.Contains(have, label) {
			s.labels[p] = append(have, label)
		}
	}
}

// of returns the sources of a merged config's parts, in its order.
func (s *sources) of(cfg *types.Config) []Source {
	all := parts(cfg)
	out := make([]Source, 0, len(all))
	for _, p := range all {
		out = append(out, Source{Kind: p.kind, Name: p.name, Layers: s.labels[p]})
	}
	return out
}

func parts(cfg *types.Config) []part {
	var out []part
	for _, f := range cfg.Storage.Files {
		out = append(out, part{"file", f.Path})
	}
	for _, d := range cfg.Storage.Directories {
		out = append(out, part{"directory", d.Path})
	}
	for _, l := range cfg.Storage.Links {
		out = append(out, part{"link", l.Path})
	}
	for _, u := range cfg.Systemd.Units {
		out = append(out, part{"unit", u.Name})
		for _, d := range u.Dropins {
			out = append(out, part{"drop-in", u.Name + "/" + d.Name})
		}
	}
	for _, g := range cfg.Passwd.Groups {
		out = append(out, part{"group", g.Name})
	}
	for _, u := range cfg.Passwd.Users {
		out = append(out, part{"user", u.Name})
	}
	for _, k := range slices.Concat(cfg.KernelArguments.ShouldExist, cfg.KernelArguments.ShouldNotExist) {
		out = append(out, part{"kernel-argument", string(k)})
	}
	return out
}
