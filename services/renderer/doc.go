// Package renderer turns render jobs into sealed Ignition configs.
//
// It owns the sealed configs and nothing else: what it does is a function of
// the job, the fleet's revision and the secrets that it alone may read. It
// draws each node's phone-home token, of which only the hash leaves it, and
// seals every config to the site that will use it. Any number of renderers
// share the work.
package renderer
