// Package simulator is the simulated world of a yard without a vCenter: the
// vCenter that govmomi simulates, the Flatcar guests that boot in it, and the
// faults that can be switched on in both. It runs as a process of its own
// (yardmaster simulate), because govmomi's simulator may panic and a yard may
// not.
//
// What it adds to govmomi's simulator:
//   - a journal: machines and folders, with their morefs, are there again
//     after a kill -9, as a vCenter's database would keep them;
//   - a gate around the calls that crash it when they run at the same time
//     (clones into one folder, look-ups beside a clone);
//   - clones that behave as a vCenter's do: a fresh MAC, flags, annotation
//     and the template's extra config; a linked one needs a snapshot;
//   - guests: on power-on a machine reads its guestinfo as Flatcar's Ignition
//     would, takes its address, and runs the config's phone-home unit;
//   - the REST interface, for tags; they, custom attributes and resource pools
//     that clients make are gone after a restart;
//   - a lone ESXi instead of the vCenter, where asked for, which refuses all that
//     needs one, and machines that cannot be switched on before their disks
//     were uploaded;
//   - rights: [Denial] says which privileges the account lacks, to whoever asks;
//   - faults and latency, set in [Config] or by [ControlClient];
//   - counts of calls and of what ran at once, read by [ControlClient].
//
// It is the only writer of its data folder. It knows nothing of the yard: the
// yard meets it as it would meet a vCenter, over HTTPS.
package simulator
