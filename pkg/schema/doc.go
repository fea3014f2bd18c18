// Package schema tells people and editors what documents are made of: the
// field tree behind yardctl explain, and the JSON Schema behind yardctl
// schema. Both are read from the Go types of pkg/fleet and the comments of
// their fields, which are embedded there; nothing is said a second time here.
package schema
