package yardctl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	yardmasterv1 "yardmaster.dev/proto/yardmaster/v1"
	"yardmaster.dev/proto/yardmaster/v1/yardmasterv1connect"
	"yardmaster.dev/services/yardctl/show"
)

// importFlags are the flags of image import.
type importFlags struct {
	sites    []string
	channel  string
	version  string
	name     string
	from     string
	file     string
	serve    string
	sha256   string
	unsigned bool
	wait     bool
	timeout  time.Duration
}

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", GroupID: groupChange, Short: "Bring images to sites as templates",
		Args: cobra.ArbitraryArgs,
	}
	return parent(cmd, a.imageImport(), a.imageForget())
}

const importLong = `import has a site's executor fetch an image, check its signature against the key
that the Site names, and make a template of it, flatcar-VERSION. What is there
already is found, what broke off goes on. A fleet that names a version which
its site lacks has it imported first by itself; this is for those who want it
there before.

Where from: the Site's spec.vsphere.images.from, or --from in its place. --file
names the image itself: a path at the executor, with its .sig beside it; with
--serve it is a file of this machine, which the executor then fetches from here
while the command waits.

A lone ESXi has no templates: there the image stays with the executor, which
uploads it for each machine.`

func (a *app) imageImport() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use: "import", Short: "Have an image as a template", Long: importLong,
		Example: `  yardctl image import --site dc1 --channel stable --version 4593.2.5 --wait
  yardctl image import --site dc1 --site dc2 --version 4593.2.5 --from https://mirror.example/flatcar
  yardctl image import --site dc1 --name flatcar-mine --file ./mine.ova --serve 192.0.2.7:8088
  yardctl image import --site dc1 --name lab --file /srv/lab.ova --unsigned --sha256 5f0e...`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.importImage(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.sites, "site", nil, "the site; may be repeated, and left out where there is only one")
	flags.StringVar(&f.channel, "channel", "", "Flatcar's channel: stable, beta, alpha or lts (default stable)")
	flags.StringVar(&f.version, "version", "", "the release, such as 4593.2.5")
	flags.StringVar(&f.name, "name", "", "the template's name (default flatcar-VERSION)")
	flags.StringVar(&f.from, "from", "", "a mirror: a URL, or a folder at the executor, that holds VERSION/flatcar_production_vmware_ova.ova; or library:NAME/ITEM of the Site's content library")
	flags.StringVar(&f.file, "file", "", "the image itself: a path at the executor that ends in .ova")
	flags.StringVar(&f.serve, "serve", "", "HOST:PORT of this machine at which the executor fetches --file from here")
	flags.StringVar(&f.sha256, "sha256", "", "what the image's SHA-256 must be")
	flags.BoolVar(&f.unsigned, "unsigned", false, "do not ask for a signature; needs --sha256")
	flags.BoolVar(&f.wait, "wait", false, "wait until the template is there, and show how far it is")
	flags.DurationVar(&f.timeout, "timeout", time.Hour, "how long --wait waits; then the exit code is 5 and the work goes on")
	return cmd
}

// check finds what is wrong with the flags together.
func (f *importFlags) check() error {
	switch {
	case f.from != "" && f.file != "":
		return errors.New("--from and --file both say where the image is; keep one")
	case f.serve != "" && f.file == "":
		return errors.New("--serve needs a --file to serve")
	case f.file != "" && !strings.HasSuffix(f.file, ".ova"):
		return fmt.Errorf("--file %s: an image is a file that ends in .ova", f.file)
	case f.version == "" && f.file == "":
		return errors.New("write --version VERSION, such as --version 4593.2.5, or --file IMAGE.ova")
	case f.version == "" && f.name == "":
		return errors.New("write --name NAME for the template, or the image's --version")
	}
	return nil
}

func (a *app) importImage(ctx context.Context, f importFlags) error {
	if err := f.check(); err != nil {
		return wrongInput(err)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	if f.sites, err = sitesOf(ctx, client, f.sites); err != nil {
		return err
	}
	from := f.from
	if f.file != "" {
		if from, err = filepath.Abs(f.file); err != nil {
			return wrongInput(err)
		}
	}
	if f.serve != "" {
		s, err := serveFile(ctx, f.serve, f.file)
		if err != nil {
			return wrongInput(err)
		}
		defer s.stop()
		from, f.wait = s.url, true
		f.sha256 = first(f.sha256, s.sha256)
	}
	out := &yardmasterv1.ApplyResponse{}
	for _, site := range f.sites {
		answer, err := client.ImportImage(ctx, connect.NewRequest(&yardmasterv1.ImportImageRequest{
			Site: site, Name: f.name, Channel: f.channel, Version: f.version, From: from, Sha256: f.sha256, Unsigned: f.unsigned, CommandId: rand.Text(),
		}))
		if err != nil {
			return err
		}
		out.Results = append(out.Results, answer.Msg)
	}
	if err := a.results(out); err != nil || !f.wait {
		return err
	}
	return a.awaitImages(ctx, client, f.sites, out.GetResults()[0].GetName(), f.timeout)
}

// sitesOf is the sites that are meant: those named, or the only one.
func sitesOf(ctx context.Context, client yardmasterv1connect.YardServiceClient, named []string) ([]string, error) {
	if len(named) > 0 {
		return named, nil
	}
	answer, err := client.ListSites(ctx, connect.NewRequest(&yardmasterv1.ListSitesRequest{}))
	if err != nil {
		return nil, err
	}
	names := namesIn(answer.Msg.GetSites(), (*yardmasterv1.SiteView).GetName)
	if len(names) != 1 {
		return nil, wrongInput(fmt.Errorf("write --site NAME; there are %s", first(strings.Join(names, ", "), "none")))
	}
	return names, nil
}

// lookImages is how often a waiting command looks.
const lookImages = 500 * time.Millisecond

// awaitImages shows how an image gets to its sites until it is in each.
func (a *app) awaitImages(ctx context.Context, client yardmasterv1connect.YardServiceClient, sites []string, name string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := a.env.Out
	if a.machine() {
		out = a.env.Err // stdout holds the answer
	}
	w := &imageWatch{app: a, out: out, name: name, left: slices.Clone(sites), shown: map[string]string{}}
	for {
		answer, err := client.ListImages(ctx, connect.NewRequest(&yardmasterv1.ListImagesRequest{}))
		if err != nil && ctx.Err() == nil && connect.CodeOf(err) != connect.CodeUnavailable {
			return err
		}
		w.see(answerImages(answer))
		if len(w.left) == 0 {
			return w.failed
		}
		select {
		case <-ctx.Done():
			return &exit{code: exitTimedOut, err: fmt.Errorf("image %s was not in %s within %s; the work goes on: yardctl get images", name, strings.Join(w.left, ", "), timeout)}
		case <-time.After(lookImages):
		}
	}
}

// imageWatch shows how one image gets to its sites.
type imageWatch struct {
	*app
	out    io.Writer
	name   string
	left   []string
	shown  map[string]string // the last line of each site
	failed error
}

func (w *imageWatch) see(images []*yardmasterv1.ImageView) {
	for _, i := range images {
		at := slices.Index(w.left, i.GetSite())
		if i.GetName() != w.name || at < 0 {
			continue
		}
		if line := w.imageLine(i); line != w.shown[i.GetSite()] {
			w.shown[i.GetSite()] = line
			_, _ = fmt.Fprintf(w.out, "%s  %s in %s  %s\n", clock(w.env.Now()), w.name, i.GetSite(), line)
		}
		switch i.GetState() {
		case "failed":
			w.failed = &exit{code: exitFailed, err: fmt.Errorf("image %s was not imported into %s: %s%s", w.name, i.GetSite(), i.GetMessage(), prefixed("\n", i.GetHint()))}
			fallthrough
		case "ready":
			w.left = slices.Delete(w.left, at, at+1)
		}
	}
}

func answerImages(r *connect.Response[yardmasterv1.ListImagesResponse]) []*yardmasterv1.ImageView {
	if r == nil {
		return nil
	}
	return r.Msg.GetImages()
}

// imageLine is how far an image is.
func (a *app) imageLine(i *yardmasterv1.ImageView) string {
	return a.imageState(i.GetState()) + prefixed("  ", imageDetail(i))
}

func (a *app) imageState(state string) string {
	colours := map[string]show.Colour{"ready": show.Green, "failed": show.Red, "importing": show.Yellow}
	if c, ok := colours[state]; ok {
		return a.palette.Paint(c, state)
	}
	return state
}

// imageDetail is what else there is to say about an image.
func imageDetail(i *yardmasterv1.ImageView) string {
	switch i.GetState() {
	case "ready":
		where := "" // it is, if it is no template
		if i.GetMessage() != "" {
			where = i.GetMessage() + ", "
		}
		switch {
		case i.GetFingerprint() != "":
			return where + "signed by " + i.GetFingerprint()
		case i.GetSha256() != "":
			return where + "unsigned, SHA-256 " + show.Cut(i.GetSha256(), 16)
		}
		return i.GetMessage()
	case "failed":
		return i.GetReason() + prefixed(": ", i.GetMessage())
	case "wanted":
		return "waits for the site's executor"
	}
	if i.GetMessage() != "" {
		return i.GetStep() + ": " + i.GetMessage()
	}
	if i.GetTotal() == 0 {
		return i.GetStep()
	}
	return fmt.Sprintf("%s %s of %s (%d %%)", i.GetStep(), mebibytes(i.GetDone()), mebibytes(i.GetTotal()), 100*i.GetDone()/i.GetTotal())
}

// mebibytes is a size with its unit.
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (a *app) imageForget() *cobra.Command {
	var sites []string
	cmd := &cobra.Command{
		Use: "forget NAME", Short: "Take back that a site shall have an image",
		Long: `forget takes an image off the list of what a site shall have. Its template, if
there is one, stays in vCenter; one that is removed there is not made again. Of
a lone ESXi the image stays in the executor's folder of images.`,
		Example: "  yardctl image forget flatcar-4081.3.10 --site dc1",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if sites, err = sitesOf(cmd.Context(), client, sites); err != nil {
				return err
			}
			out := &yardmasterv1.ApplyResponse{}
			for _, site := range sites {
				answer, err := client.ForgetImage(cmd.Context(), connect.NewRequest(&yardmasterv1.ForgetImageRequest{Site: site, Name: args[0], CommandId: rand.Text()}))
				if err != nil {
					return err
				}
				out.Results = append(out.Results, answer.Msg)
			}
			return a.results(out)
		},
	}
	cmd.Flags().StringArrayVar(&sites, "site", nil, "the site; may be repeated, and left out where there is only one")
	return a.complete(cmd, imageNames)
}

func (a *app) getImages() *cobra.Command {
	cmd, sel := a.getter("images", "image", "Images: which templates the sites have, and how far others are", func(cmd *cobra.Command, s selection) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		answer, err := client.ListImages(cmd.Context(), connect.NewRequest(&yardmasterv1.ListImagesRequest{Site: s.site}))
		if err != nil {
			return err
		}
		m := answer.Msg
		if len(s.names) > 0 {
			if _, err := pick(m.GetImages(), s.names, nameOf[*yardmasterv1.ImageView], "image"); err != nil {
				return err
			}
			m.Images = slices.DeleteFunc(m.GetImages(), func(i *yardmasterv1.ImageView) bool { return !slices.Contains(s.names, i.GetName()) })
		}
		a.warn(m.GetRead())
		return a.emit(one(m.GetImages(), s.names, m), func() error { a.imageTable(m.GetImages()); return nil })
	})
	cmd.Flags().StringVar(&sel.site, "site", "", "only this site's")
	return a.complete(cmd, imageNames)
}

func (a *app) imageTable(images []*yardmasterv1.ImageView) {
	g := grid{header: a.wide([]string{"site", "image", "state", "for", "detail"}, "sha256", "asked by", "from", "hint")}
	for _, i := range images {
		since := ""
		if i.GetSince() != nil {
			since = a.age(i.GetSince())
		}
		g.rows = append(g.rows, a.wide([]string{
			i.GetSite(), i.GetName(), a.imageState(i.GetState()), since, a.fit(imageDetail(i), 60),
		}, i.GetSha256(), i.GetBy(), i.GetFrom(), i.GetHint()))
	}
	a.grid(g, "no image; yardctl image import brings one")
}

func imageNames(ctx context.Context, c yardmasterv1connect.YardServiceClient) ([]string, error) {
	answer, err := c.ListImages(ctx, connect.NewRequest(&yardmasterv1.ListImagesRequest{}))
	if err != nil {
		return nil, err
	}
	return namesIn(answer.Msg.GetImages(), (*yardmasterv1.ImageView).GetName), nil
}

// imageSteps prints the templates that a plan has made first.
func (a *app) imageSteps(f *yardmasterv1.FleetPlan) {
	for _, s := range f.GetImages() {
		size := ""
		if s.GetTotal() > 0 {
			size = fmt.Sprintf(", %s of %s are there", mebibytes(s.GetDone()), mebibytes(s.GetTotal()))
		}
		words := "import"
		if s.GetAction() == "importing" {
			words = "is being imported"
		}
		a.say("  %s first    %s: %s into %s%s", a.palette.Paint(show.Green, "↓"), s.GetName(), words, s.GetSite(), size)
		a.say("               from %s", s.GetFrom())
	}
}
