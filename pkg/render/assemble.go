package render

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/clarketm/json"
	"github.com/coreos/ignition/v2/config/util"
	ignition "github.com/coreos/ignition/v2/config/v3_4"
	"github.com/coreos/ignition/v2/config/v3_4/types"
	"github.com/vincent-petithory/dataurl"

	"yardmaster.dev/pkg/fleet"
)

// assembled is a merged config and where its parts came from.
type assembled struct {
	config     types.Config
	provenance []Source
}

// assemble translates every layer with the given values, checks and merges
// them. It is the whole of the slow path, and the first half of compiling.
func (c *Compiled) assemble(value filler, values valuesOf) (assembled, []fleet.Problem) {
	var problems []fleet.Problem
	var sources sources
	merged := types.Config{Ignition: types.Ignition{Version: specNewest}}
	room := maxFilled
	for i := range c.layers {
		l := &c.layers[i]
		read, wrong := l.body.translate(bounded(c.filler(l, value), &room))
		if len(wrong) == 0 {
			wrong = checkRules(&read.config, values, read.line)
		}
		if len(wrong) > 0 {
			problems = append(problems, place(l.path, wrong)...)
			continue
		}
		sources.add(&read.config, l.label)
		merged = ignition.Merge(merged, read.config)
	}
	if len(problems) > 0 {
		return assembled{}, shown(problems, values.show)
	}
	canonical(&merged)
	merged.Ignition.Version = lowestSpec(&merged)
	if problems := c.checkMerged(&merged); len(problems) > 0 {
		return assembled{}, shown(problems, values.show)
	}
	return assembled{config: merged, provenance: sources.of(&merged)}, nil
}

// maxFilled bounds the values that are put into one config: a few kilobytes
// of placeholders could otherwise ask for gigabytes.
const maxFilled = 1 << 20

var errFilled = fmt.Errorf("the values of the placeholders are more than %d KiB together", maxFilled>>10)

// bounded is a filler that fails when its values use up the room.
func bounded(fill filler, room *int) filler {
	return func(p fleet.Placeholder) (string, error) {
		value, err := fill(p)
		if *room -= len(value); err == nil && *room < 0 {
			return "", errFilled
		}
		return value, err
	}
}

// shown takes secrets and markers out of messages that others wrote.
func shown(problems []fleet.Problem, show func(string) string) []fleet.Problem {
	for i := range problems {
		problems[i].Message = show(problems[i].Message)
	}
	return problems
}

// checkMerged checks what no layer shows by itself.
func (c *Compiled) checkMerged(cfg *types.Config) []fleet.Problem {
	var wrong []finding
	if n := len(cfg.Storage.Files) + len(cfg.Storage.Links) + len(cfg.Storage.Directories) + len(cfg.Systemd.Units); n > maxItems {
		wrong = append(wrong, finding{message: fmt.Sprintf("%d files, links, directories and units in all layers together; the most is %d", n, maxItems)})
	}
	if c.static && c.release.major > 0 && c.release.major < releaseKargs && remote(cfg) {
		wrong = append(wrong, finding{
			message: fmt.Sprintf("Flatcar %s cannot fetch anything at first boot with a static address", c.release.version),
			hint:    fmt.Sprintf("use %d or newer, DHCP, or inline contents", releaseKargs),
		})
	}
	text, err := marshal(cfg)
	if err != nil {
		return place("", []finding{{message: err.Error()}})
	}
	// Two layers that are valid alone may contradict each other.
	_, rep, err := ignition.ParseCompatibleVersion(text)
	for _, f := range reportFindings(rep, map[position]position{}) {
		f.message = "the layers contradict each other: " + f.message
		wrong = append(wrong, f)
	}
	if err != nil && len(wrong) == 0 {
		wrong = append(wrong, finding{message: "the merged config is refused by Ignition: " + err.Error()})
	}
	return place("spec.config", wrong)
}

// marshal writes a config as Butane does: no empty objects.
func marshal(cfg *types.Config) ([]byte, error) {
	text, err := json.Marshal(*cfg)
	if err != nil {
		return nil, fmt.Errorf("write the Ignition config: %w", err)
	}
	return text, nil
}

// canonical writes the text contents of all files in one form. Butane takes
// base64 or escaping, whichever is shorter, and that would depend on the
// values; escaped text is also what compresses best.
func canonical(cfg *types.Config) {
	each := func(res *types.Resource) {
		if util.NilOrEmpty(res.Source) || !strings.HasPrefix(*res.Source, "data:;base64,") {
			return
		}
		if content, ok := decodeData(*res.Source); ok && isText(content) {
			source := "data:," + dataurl.EscapeString(content)
			res.Source = &source
		}
	}
	for i := range cfg.Storage.Files {
		f := &cfg.Storage.Files[i]
		each(&f.Contents)
		f.Append = slices.Clone(f.Append)
		for j := range f.Append {
			each(&f.Append[j])
		}
	}
}

// decodeData returns the content of a data: URL.
func decodeData(source string) (string, bool) {
	if raw, ok := strings.CutPrefix(source, "data:;base64,"); ok {
		content, err := base64.StdEncoding.DecodeString(raw)
		return string(content), err == nil
	}
	u, err := dataurl.DecodeString(source)
	if err != nil {
		return "", false
	}
	return string(u.Data), true
}

// plainText returns the content of a data: URL that is text.
func plainText(source string) (string, bool) {
	if !strings.HasPrefix(source, "data:") {
		return "", false
	}
	content, ok := decodeData(source)
	return content, ok && isText(content)
}

// remote reports whether Ignition would fetch anything.
func remote(cfg *types.Config) bool {
	far := func(res types.Resource) bool {
		return !util.NilOrEmpty(res.Source) && !strings.HasPrefix(*res.Source, "data:")
	}
	for _, f := range cfg.Storage.Files {
		if far(f.Contents) || slices.ContainsFunc(f.Append, far) {
			return true
		}
	}
	return slices.ContainsFunc(cfg.Ignition.Security.TLS.CertificateAuthorities, far)
}
