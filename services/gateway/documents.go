package gateway

import (
	"cmp"
	"fmt"
	"slices"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
	"yardmaster.dev/pkg/specfile"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// documents are what a request's sources hold, in the order in which they
// must be applied: a fleet refers to Sites and Networks.
type documents []fleet.Document

// rank orders kinds by who refers to whom.
var rank = map[fleet.Kind]int{fleet.KindSite: 0, fleet.KindNetwork: 1, fleet.KindFleet: 2}

// readSources parses and checks sources; every problem of every file is
// reported at once, in file order. More may be checked of each document than it
// says by itself.
func readSources(sources []*v1.Source, more ...func(fleet.Document) []fleet.Problem) (documents, []*v1.Problem) {
	if len(sources) == 0 {
		return nil, []*v1.Problem{{Message: "nothing was sent", Hint: "send at least one source"}}
	}
	var docs documents
	var problems []specfile.Problem
	first := map[string]*specfile.Parsed{}
	for _, source := range sources {
		parsed, wrong := specfile.Parse(source.GetFilename(), source.GetContent())
		var layers, twice []specfile.Problem
		for _, p := range parsed {
			for _, check := range append([]func(fleet.Document) []fleet.Problem{check}, more...) {
				layers = append(layers, p.Locate(check(p.Document))...)
			}
			twice = append(twice, elsewhere(first, source.GetFilename(), p)...)
			docs = append(docs, p.Document)
		}
		problems = append(problems, specfile.Merge(wrong, layers)...)
		problems = append(problems, twice...)
	}
	slices.SortStableFunc(docs, func(a, b fleet.Document) int {
		return cmp.Compare(rank[a.DocumentKind()], rank[b.DocumentKind()])
	})
	return docs, viewProblems(problems)
}

// check is what specfile cannot know: whether the config layers compile.
func check(d fleet.Document) []fleet.Problem {
	f, ok := d.(*fleet.Fleet)
	if !ok {
		return nil
	}
	return render.Check(f)
}

// elsewhere reports a document that an earlier file holds already; specfile
// reports those of one file.
func elsewhere(first map[string]*specfile.Parsed, filename string, p *specfile.Parsed) []specfile.Problem {
	name := string(p.Document.DocumentKind()) + "/" + p.Document.DocumentName()
	earlier, ok := first[name]
	if !ok {
		first[name] = p
		return nil
	}
	at := earlier.Locate([]fleet.Problem{{Path: "metadata.name"}})
	if len(at) == 0 || at[0].File == filename || p.Document.DocumentName() == "" {
		return nil
	}
	return p.Locate([]fleet.Problem{{
		Path:    "metadata.name",
		Message: fmt.Sprintf("%s %s stands in two files", p.Document.DocumentKind(), p.Document.DocumentName()),
		Hint:    "the other is at " + at[0].Where(),
	}})
}

func viewProblems(problems []specfile.Problem) []*v1.Problem {
	out := make([]*v1.Problem, 0, len(problems))
	for _, p := range problems {
		out = append(out, &v1.Problem{
			File: p.File, Line: int32(p.Line), Column: int32(p.Column),
			Path: p.Path, Message: p.Message, Hint: p.Hint,
		})
	}
	return out
}

// fleets picks the fleets.
func (ds documents) fleets() []*fleet.Fleet {
	var out []*fleet.Fleet
	for _, d := range ds {
		if f, ok := d.(*fleet.Fleet); ok {
			out = append(out, f)
		}
	}
	return out
}
