// Package yardmaster is the whole yard in one process: an embedded NATS
// server and all services in one group, with the simulated world as a child
// process, because that may crash and a yard may not. It wires and shows;
// every decision is made in the packages that it starts.
package yardmaster
