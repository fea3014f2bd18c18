package bus

import (
	"fmt"
	"strings"
)

// The promises of the server, for the embedded one and the printed
// configuration alike.
const (
	// MaxBatchesPerStream is how many atomic batches may be open at once:
	// abandoned ones block for 10 s, and the default of 50 is met by a few
	// crashing workers.
	MaxBatchesPerStream = 1000
	// MaxBatchesTotal is the same for the whole server.
	MaxBatchesTotal = 4000
)

// ServerConfig prints the authorization and jetstream blocks for an external
// nats-server that keeps its store in storeDir.
func ServerConfig(storeDir string, users []Identity) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Made by yardmaster bus config; include it in the configuration of every server.
# Every line of the jetstream block is a promise that the ledger rests on:
# without sync_interval "always" a power cut loses acknowledged writes. Never
# add a cipher or key: it loses whole streams after a crash; encrypt the disk.
jetstream {
  store_dir: %q
  sync_interval: always
  limits {
    batch {
      max_inflight_per_stream: %d
      max_inflight_total: %d
    }
  }
}

authorization {
  users: [
`, storeDir, MaxBatchesPerStream, MaxBatchesTotal)
	for _, u := range users {
		fmt.Fprintf(&b, "    # %s\n    {\n      nkey: %s\n      permissions {\n        publish {\n          allow: [%s]\n          deny: [%s]\n        }\n        subscribe { allow: [%s] }\n      }\n    }\n",
			u.Name, u.PublicKey, quoted(u.Publish), quoted(u.DenyPublish), quoted(u.Subscribe))
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

func quoted(subjects []string) string {
	var b strings.Builder
	for _, s := range subjects {
		fmt.Fprintf(&b, "\n            %q", s)
	}
	if len(subjects) > 0 {
		b.WriteString("\n          ")
	}
	return b.String()
}
