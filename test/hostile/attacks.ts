import type { Attack } from './attack.ts';
import { callers } from './attacks/callers.ts';
import { certificates } from './attacks/certificates.ts';
import { compression } from './attacks/compression.ts';
import { connections } from './attacks/connections.ts';
import { deadlines } from './attacks/deadlines.ts';
import { http2 } from './attacks/http2.ts';
import { jwts } from './attacks/jwts.ts';
import { messages } from './attacks/messages.ts';
import { permits } from './attacks/permits.ts';
import { rebinding } from './attacks/rebinding.ts';
import { requests } from './attacks/requests.ts';
import { review } from './attacks/review.ts';
import { standardServices } from './attacks/standard-services.ts';
import { tls } from './attacks/tls.ts';
import { unread } from './attacks/unread.ts';
import { watch } from './attacks/watch.ts';

/** Every attack, in the order in which they are played. */
export const ATTACKS: readonly Attack[] = [
  review,
  compression,
  standardServices,
  watch,
  messages,
  rebinding,
  unread,
  connections,
  tls,
  requests,
  http2,
  deadlines,
  permits,
  callers,
  jwts,
  certificates,
].flat();
