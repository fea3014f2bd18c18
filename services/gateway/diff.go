package gateway

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// Diff compares two revisions of a fleet, or documents with what is applied.
func (g *Gateway) Diff(_ context.Context, req *connect.Request[v1.DiffRequest]) (*connect.Response[v1.DiffResponse], error) {
	m := req.Msg
	if (len(m.GetSources()) > 0) == (m.GetFleet() != "") {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("send documents or the name of a fleet"))
	}
	out := &v1.DiffResponse{}
	var docs documents
	if m.GetFleet() == "" {
		if docs, out.Problems = readSources(m.GetSources()); len(out.GetProblems()) > 0 {
			return connect.NewResponse(out), nil
		}
	}
	read, err := g.model.read(func(w *plan.World) error {
		for _, d := range docs {
			out.Documents = append(out.Documents, diffApplied(w, d))
		}
		if m.GetFleet() == "" {
			return nil
		}
		d, err := diffRevisions(w, m)
		out.Documents = append(out.Documents, d)
		return err
	})
	out.Read = read
	return answer(out, err)
}

// diffApplied compares a document with the one that is applied.
func diffApplied(w *plan.World, d fleet.Document) *v1.DocumentDiff {
	out := &v1.DocumentDiff{Kind: string(d.DocumentKind()), Name: d.DocumentName()}
	old, err := findDocument(w, out.GetKind(), out.GetName())
	if err != nil {
		out.New = true
		return out
	}
	if f := w.Fleet(out.GetName()); f != nil && d.DocumentKind() == fleet.KindFleet {
		out.From = int32(f.Revision)
	}
	out.Fields = viewFields(plan.Differences(old, d))
	return out
}

func diffRevisions(w *plan.World, m *v1.DiffRequest) (*v1.DocumentDiff, error) {
	f := w.Fleet(m.GetFleet())
	if f == nil || f.Deleted {
		return nil, notFound("fleet", m.GetFleet(), "fleets")
	}
	to := int(m.GetTo())
	if to == 0 {
		to = f.Revision
	}
	from := int(m.GetFrom())
	if from == 0 {
		from = to - 1
	}
	older, err := findRevision(w, f.Name, from)
	if err != nil {
		return nil, err
	}
	newer, err := findRevision(w, f.Name, to)
	if err != nil {
		return nil, err
	}
	return &v1.DocumentDiff{
		Kind: string(fleet.KindFleet), Name: f.Name, From: int32(from), To: int32(to),
		Fields: viewFields(plan.Differences(&older.Document, &newer.Document)),
	}, nil
}

// findRevision returns a revision of a fleet that exists.
func findRevision(w *plan.World, name string, number int) (*plan.Revision, error) {
	f := w.Fleet(name)
	if f == nil || f.Deleted {
		return nil, notFound("fleet", name, "fleets")
	}
	if rev := w.Revision(name, number); rev != nil && rev.FleetUID == f.UID {
		return rev, nil
	}
	return nil, connect.NewError(connect.CodeNotFound,
		fmt.Errorf("revision %d of fleet %q: %w; yardctl history %s shows what there is", number, name, errNotFound, name))
}

func viewFields(fields []plan.FieldChange) []*v1.FieldDiff {
	out := make([]*v1.FieldDiff, 0, len(fields))
	for _, f := range fields {
		out = append(out, &v1.FieldDiff{Path: f.Path, Was: f.Was, Now: f.Now})
	}
	return out
}
