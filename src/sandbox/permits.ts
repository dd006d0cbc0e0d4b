import type { NewPermit } from '../core/messages/ports.ts';
import { setBounded } from './bounded.ts';

const weekMs = 7 * 86_400_000;

/** What gives the right to send template messages of a mini program: `form_id` is good for 1, `prepay_id` for 3. */
export interface Form {
  readonly formId: string;
  readonly toUser: string;
  readonly kind: 'form_id' | 'prepay_id';
  /** When the user gave it, in wall-clock milliseconds since 1970; it is good for 7 days. */
  readonly collectTime: number;
}

const uses = { form_id: 1, prepay_id: 3 } as const;

/** The rights to send that one app's users have given. */
export class Permits {
  readonly #forms = new Map<string, { readonly form: Form; used: number }>();
  readonly #consents = new Map<string, number>();

  /** A user submitted a form or paid. Replaces a form of the same name. */
  addForm(form: Form): void {
    setBounded(this.#forms, form.formId, { form, used: 0 });
  }

  /** What was deposited with a broker: a form, or a consent. */
  add({ kind, value, toUser, templateId, collectTime }: NewPermit): void {
    if (kind === 'consent') this.addConsents(toUser, templateId);
    else this.addForm({ formId: value, toUser, kind, collectTime });
  }

  /** How many messages a form has carried. */
  carried(formId: string): number {
    return this.#forms.get(formId)?.used ?? 0;
  }

  /** Uses a form once, or returns why it cannot: 41028 for one that is not this user's or has expired, 41029 for a used one. */
  useForm(formId: string, toUser: string, now: number): 0 | 41028 | 41029 {
    const entry = this.#forms.get(formId);
    if (!entry || entry.form.toUser !== toUser || now - entry.form.collectTime >= weekMs) return 41028;
    if (entry.used >= uses[entry.form.kind]) return 41029;
    entry.used++;
    return 0;
  }

  /** A user agrees to `count` more messages of a template. Returns to how many they now agree. */
  addConsents(toUser: string, templateId: string, count = 1): number {
    const sum = this.consents(toUser, templateId) + count;
    setBounded(this.#consents, pair(toUser, templateId), sum);
    return sum;
  }

  /** How many messages of a template a user still agrees to. */
  consents(toUser: string, templateId: string): number {
    return this.#consents.get(pair(toUser, templateId)) ?? 0;
  }

  /** Uses a consent, or returns 43101 when there is none. */
  useConsent(toUser: string, templateId: string): 0 | 43101 {
    const left = this.consents(toUser, templateId);
    if (left === 0) return 43101;
    this.#consents.set(pair(toUser, templateId), left - 1);
    return 0;
  }
}

function pair(toUser: string, templateId: string): string {
  return JSON.stringify([toUser, templateId]);
}
