/**
 * The reference driver's switches: each has it break one rule of clients/SPEC.md, and names the scenarios that must fail with it.
 * `npm run conformance -- --broken` plays them: a scenario that no switch can make fail proves nothing.
 */
export const switches: Record<string, number[]> = {
  // R2
  'older-taken-from-stream': [9],
  'older-taken-from-report': [9],
  'equal-refused': [18],
  'generations-as-numbers': [10],
  'generations-signed': [10],
  'first-of-a-burst': [8],
  'removed-ignored': [20],
  'removed-keeps-generation': [20],
  // R3
  'no-expiry': [19],
  'wall-clock': [19],
  'outage-empties': [19],
  'expired-status-ignored': [18],
  // R4
  'start-fails-at-once': [4],
  'start-waits-for-ever': [5],
  'failed-start-leaks': [5],
  'start-drops-unknown-app': [6],
  // R5
  'no-backoff': [13],
  'clean-end-is-the-end': [13],
  'backoff-reset-at-first-message': [14],
  'failures-not-forgiven': [14],
  'no-jitter': [15],
  'no-cap': [15],
  // R6
  'same-connection': [1],
  'no-watchdog': [1, 2],
  'watchdog-after-first-message': [2],
  'heartbeats-do-not-feed': [3],
  // R7
  'goaway-at-once': [12],
  'goaway-same-connection': [12],
  // R8
  'retry-info-ignored': [16],
  // R9
  'no-slow-lane': [17],
  'stops-when-refused': [17],
  'credentials-read-once': [17],
  'refused-empties': [17],
  // R10
  'bad-app-starves': [7],
  'bad-app-forgotten': [7],
  'pending-app-left-out': [7],
  // R2, as the stream says it
  'no-known-generations': [11],
  'known-after-expiry': [11],
  // R11
  'reports-not-shared': [22],
  'report-names-nothing': [21],
  'reports-again-in-cooldown': [21],
  // R12
  'no-second-attempt': [21],
  'third-attempt': [21],
  'repeats-the-same-token': [21],
  'retries-still-valid': [23],
  'raises-the-report-error': [21],
  'sleeps-for-cooldown': [21],
  // R13
  'previous-chosen': [21],
  // R14
  'unknown-status-refused': [24],
  'unknown-event-is-fatal': [24],
  // R15
  'close-leaks-socket': [25],
  'close-waits-for-backoff': [25],
  'close-once': [25],
  // R16
  'fork-child-stands-still': [26],
  // R17, R18
  'value-in-event': [27],
  'value-on-stderr': [27],
  'value-in-error': [27],
};
