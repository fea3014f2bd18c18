// Package pkg is the reading order of what the services share, lowest first:
//
//	fault     why something failed and whether trying again can help
//	reread    files that change while a program runs
//	guest     what a machine says of itself
//	fleet     the documents: Fleet, Network, Site; defaults, rules, hashes
//	plan      the pure core: what must happen next
//	specfile  YAML to documents, strict, with file:line:column
//	schema    what documents are made of, for people and editors
//	render    config layers to Ignition; compile once, stamp per node
//	wire      core types to protobuf and back
//	bus       JetStream: connections, topology, users
//	ledger    the loop that makes decisions durable
//	executor  the runner that drives jobs through a backend
//	service   main's helper: config, signals, ordered stop, health, metrics
//
// Imports point only upwards in this list.
package pkg
