// Package discover looks at a vCenter, or a lone ESXi, and writes the Site and
// Networks that describe it to a yard. Nothing is sent to a server but a
// request for its certificate until somebody has accepted that certificate.
//
// It is part of the executor, where all that speaks to vCenter is, and runs
// where yardctl does.
package discover
