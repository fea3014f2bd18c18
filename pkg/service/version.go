package service

import "runtime/debug"

// version is set by the linker: -X yardmaster.dev/pkg/service.version=v1.2.3.
var version = "dev"

// BuildInfo says what a binary was built from.
type BuildInfo struct {
	Version string
	Commit  string
	Go      string
}

// Build returns this binary's build information.
func Build() BuildInfo {
	b := BuildInfo{Version: version, Commit: "unknown", Go: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Go = info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b
}
