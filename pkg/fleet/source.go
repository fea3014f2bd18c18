package fleet

import "embed"

// Source is the text of the documents' types. What the comments of the fields
// say is what yardctl explain and the JSON Schema say: there is no second
// place that could grow old.
//
//go:embed documents*.go
var Source embed.FS
