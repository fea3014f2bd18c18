// Package render turns the config layers of a pool into the Ignition config
// of each node.
//
// A pool is compiled once: every layer is translated (Butane) or read
// (Ignition) with marker values in place of what differs from node to node,
// checked by Ignition's rules and by ours, and merged. A node's config is
// then stamped: its values, checked by type, are put between the pieces of
// the finished JSON. What would change the structure from node to node is
// translated anew for each (the slow path); both give identical bytes.
//
// The package does no I/O and keeps no secret: a [Compiled] holds the names
// of secrets, their values pass through [Compiled.Stamp] only.
package render
