package yardctl_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "yardmaster.dev/proto/yardmaster/v1"
)

const fingerprint = "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A"

// looks counts how often the image flatcar-4700.1.0 was looked at: each time
// it is further on its way.
var looks atomic.Int32

func onItsWay() *v1.ImageView {
	i := &v1.ImageView{Site: "dc1", Name: "flatcar-4700.1.0", State: "importing", Since: timestamppb.New(now.Add(-5 * time.Second))}
	switch looks.Add(1) % 3 {
	case 1:
		i.Step, i.Done, i.Total = "fetching", 120<<20, 600<<20
	case 2:
		i.Step = "checking"
	default:
		i.State, i.Fingerprint = "ready", fingerprint
	}
	return i
}

func (*gateway) ListImages(_ context.Context, req *connect.Request[v1.ListImagesRequest]) (*connect.Response[v1.ListImagesResponse], error) {
	out := &v1.ListImagesResponse{Read: read(), Images: []*v1.ImageView{
		{Site: "dc1", Name: "flatcar-4593.2.5", State: "ready", Fingerprint: fingerprint, Sha256: strings.Repeat("5f", 32)},
		{Site: "dc1", Name: "lab", State: "ready", Sha256: strings.Repeat("ab", 32), Since: ago(time.Hour), By: "ci", Asked: ago(time.Hour), From: "/srv/lab.ova"},
		{
			Site: "dc2", Name: "flatcar-4799.1.0", State: "failed", Since: ago(3 * time.Minute), Reason: "image_missing", Message: "fetch https://mirror.example/4799.1.0: the server answered 404 Not Found",
			Hint: "correct the channel or the version", By: "ci", Asked: ago(4 * time.Minute),
		},
		{Site: "dc2", Name: "flatcar-4800.1.0", State: "wanted", Since: ago(2 * time.Second), By: "ci", Asked: ago(2 * time.Second)},
		{Site: "dc2", Name: "flatcar-4757.1.0", State: "importing", Step: "uploading", Done: 300 << 20, Total: 600 << 20, Since: ago(7 * time.Second)},
	}}
	if req.Msg.GetSite() == "" {
		out.Images = append(out.Images, onItsWay())
	}
	return connect.NewResponse(out), nil
}

// ImportImage fetches an image that yardctl serves, as an executor would.
func (*gateway) ImportImage(ctx context.Context, req *connect.Request[v1.ImportImageRequest]) (*connect.Response[v1.CommandResponse], error) {
	m := req.Msg
	name := m.GetName()
	if name == "" {
		name = "flatcar-" + m.GetVersion()
	}
	out := &v1.CommandResponse{Kind: "Image", Name: name, Accepted: true, CommandId: m.GetCommandId(), Summary: "Site " + m.GetSite() + " is to have image " + name}
	if m.GetSite() == "nowhere" {
		out.Accepted, out.Code, out.Refusal = false, "not_found", []string{"there is no Site nowhere; yardctl get sites lists them"}
	}
	if strings.HasPrefix(m.GetFrom(), "http://127.0.0.1:") {
		for _, suffix := range []string{"", ".sig", "/../secret"} {
			out.Summary += fmt.Sprintf("; fetched %q", fetched(ctx, m.GetFrom()+suffix))
		}
		out.Summary += " of digest " + m.GetSha256()[:8]
	}
	return connect.NewResponse(out), nil
}

func fetched(ctx context.Context, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func (*gateway) ForgetImage(_ context.Context, req *connect.Request[v1.ForgetImageRequest]) (*connect.Response[v1.CommandResponse], error) {
	return connect.NewResponse(&v1.CommandResponse{
		Kind: "Image", Name: req.Msg.GetName(), Accepted: true, CommandId: req.Msg.GetCommandId(), Summary: "no longer asked for in " + req.Msg.GetSite(),
	}), nil
}
