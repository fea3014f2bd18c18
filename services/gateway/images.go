package gateway

import (
	"context"
	"maps"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/plan"
	"yardmaster.dev/pkg/wire"
	v1 "yardmaster.dev/proto/yardmaster/v1"
)

// ImportImage has an image brought to a site as a template.
func (g *Gateway) ImportImage(ctx context.Context, req *connect.Request[v1.ImportImageRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	i := fleet.Image{
		Name: m.GetName(), Channel: m.GetChannel(), Version: m.GetVersion(), From: m.GetFrom(), SHA256: m.GetSha256(), Unsigned: m.GetUnsigned(),
	}
	if i.Name == "" && i.Version != "" {
		i.Name = fleet.TemplateOf(i.Version)
	}
	return g.imageCommand(ctx, m.GetCommandId(), i.Name, &plan.Command{ImportImage: &plan.ImportImage{Site: m.GetSite(), Image: i}})
}

// ForgetImage takes the wish for an image back.
func (g *Gateway) ForgetImage(ctx context.Context, req *connect.Request[v1.ForgetImageRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	return g.imageCommand(ctx, m.GetCommandId(), m.GetName(), &plan.Command{ForgetImage: &plan.ForgetImage{Site: m.GetSite(), Name: m.GetName()}})
}

// kindImage stands in the answers to these commands; there is no document of
// that kind.
const kindImage = "Image"

func (g *Gateway) imageCommand(ctx context.Context, asked, name string, c *plan.Command) (*connect.Response[v1.CommandResponse], error) {
	id, err := newID(asked)
	if err != nil {
		return nil, err
	}
	c.ID = id
	out, err := g.send(ctx, order{scope: plan.YardScope, command: c})
	if err != nil {
		return nil, err
	}
	out.Kind, out.Name = kindImage, name
	return connect.NewResponse(out), nil
}

// ListImages returns the templates of the sites and what is to become one.
func (g *Gateway) ListImages(_ context.Context, req *connect.Request[v1.ListImagesRequest]) (*connect.Response[v1.ListImagesResponse], error) {
	out := &v1.ListImagesResponse{}
	read, err := g.model.read(func(w *plan.World) error {
		found := false
		for _, s := range w.Sites() {
			name := s.Document.Metadata.Name
			if s.Deleted || req.Msg.GetSite() != "" && req.Msg.GetSite() != name {
				continue
			}
			found = true
			views := viewImages(name, g.stock.of(name, time.Now()), w.Images(name))
			if g.stock.isHost(name) {
				keptThere(views)
			}
			out.Images = append(out.Images, views...)
		}
		if !found && req.Msg.GetSite() != "" {
			return notFound("site", req.Msg.GetSite(), "sites")
		}
		return nil
	})
	out.Read = read
	return answer(out, err)
}

// keptThere says of a lone host's images where they are.
func keptThere(views []*v1.ImageView) {
	for _, v := range views {
		if v.GetState() == wire.ImageReady {
			v.Message = "kept by the executor"
		}
	}
}

// viewImages shows what a site's executor says beside what was asked for.
func viewImages(site string, there map[string]wire.ImageState, asked *plan.Images) []*v1.ImageView {
	all := maps.Clone(there)
	if all == nil {
		all = map[string]wire.ImageState{}
	}
	wishes := map[string]plan.WantedImage{}
	if asked != nil {
		for _, w := range asked.Wanted {
			wishes[w.Name] = w
			s, ok := all[w.Name]
			if !ok || s.State != wire.ImageReady && !s.Asked.Equal(w.Asked) {
				all[w.Name] = wire.ImageState{Name: w.Name, State: wire.ImageWanted, Since: w.Asked}
			}
		}
	}
	out := make([]*v1.ImageView, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		view := viewImage(site, all[name])
		if w, ok := wishes[name]; ok {
			view.By, view.Asked, view.From = w.By, timestamppb.New(w.Asked), w.From
		}
		out = append(out, view)
	}
	return out
}

func viewImage(site string, s wire.ImageState) *v1.ImageView {
	view := &v1.ImageView{
		Site: site, Name: s.Name, State: s.State, Step: s.Step, Done: s.Done, Total: s.Total,
		Fingerprint: s.Fingerprint, Sha256: s.SHA256, Reason: string(s.Reason), Message: s.Message, Hint: s.Hint,
	}
	if !s.Since.IsZero() {
		view.Since = timestamppb.New(s.Since)
	}
	return view
}

// imageSteps are the templates that a plan's new machines need and that their
// site lacks, as far as its executor has said what is there.
func (g *Gateway) imageSteps(w *plan.World, doc *fleet.Fleet, p *plan.Plan) (steps []*v1.ImageStep, notes []string) {
	making := map[string]bool{}
	for i := range p.Changes {
		if p.Changes[i].Action != plan.ChangeDelete {
			making[p.Changes[i].Pool] = true
		}
	}
	seen := map[string]bool{}
	full := doc.WithDefaults()
	for _, pool := range places(full) {
		name, _ := plan.Template(full.Spec.OS.Version, pool.VSphere)
		if name == "" || !making[pool.Name] || seen[pool.VSphere.Site+"/"+name] {
			continue
		}
		seen[pool.VSphere.Site+"/"+name] = true
		step, note := g.imageStep(w, full, pool)
		if step != nil {
			steps = append(steps, step)
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	return steps, notes
}

// places are a fleet's pools in each of their failure domains.
func places(f *fleet.Fleet) (out []*fleet.Pool) {
	for i := range f.Spec.Pools {
		out = append(out, f.Spec.Pools[i].Places()...)
	}
	return out
}

// imageStep is what must happen for a pool's template, or a word about it.
func (g *Gateway) imageStep(w *plan.World, doc *fleet.Fleet, p *fleet.Pool) (*v1.ImageStep, string) {
	name, importable := plan.Template(doc.Spec.OS.Version, p.VSphere)
	site, i := p.VSphere.Site, fleet.Image{Name: name, Channel: doc.Spec.OS.Channel, Version: doc.Spec.OS.Version}
	there := g.stock.of(site, time.Now())
	state, ok := there[i.Name]
	if there == nil || ok && state.State == wire.ImageReady {
		return nil, ""
	}
	s := w.Site(site)
	if s == nil || s.Document.Spec.VSphere == nil {
		return nil, ""
	}
	images := s.Document.Spec.VSphere.Images
	if !importable || images == nil {
		return nil, g.stock.lacks(site, i.Name) + ": its nodes fail until there is one; yardctl image import brings it"
	}
	step := &v1.ImageStep{
		Site: site, Name: i.Name, Action: "import", From: i.Location(images.WithDefaults().From), Done: state.Done, Total: state.Total,
	}
	if state.State == wire.ImageImporting {
		step.Action = wire.ImageImporting
	}
	note := ""
	if state.State == wire.ImageFailed {
		note = "the last import of " + i.Name + " into " + site + " failed: " + state.Message
	}
	return step, note
}
