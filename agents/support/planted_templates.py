"""The sentences that planted drafts are made of: what is right in them, and what is wrong.

Written before the checks that look for them, and known to none of these: no check imports this
module, nor does it import one. A third of the templates, drawn by a hash, is left out while checks
are worked on.
"""

from hashlib import sha256
from typing import Final

__all__ = [
    "BODIES",
    "CLOSINGS",
    "INVENTED",
    "LEAKED",
    "MISSING",
    "OPENINGS",
    "ORDERS",
    "TONES",
    "VOICES",
    "is_unseen",
]

_SEED: Final = "batuta support drafts, 1"
_PARTS: Final = 3

OPENINGS: Final = (
    *("Hello,", "Hi there,", "Dear customer,", "Good morning,", "Happy to help!"),
    "Thank you for getting in touch.",
    "Thanks for reaching out to us.",
    "We are sorry for the inconvenience.",
    "I am sorry to hear about this.",
    "Thank you for your message and your patience.",
    "Sorry for the trouble this has caused you.",
    "I would be glad to help you with that.",
    "Let me help you sort this out.",
    "We understand how frustrating this must be.",
    "Thank you for letting us know.",
    "It is a pleasure to assist you.",
    "I appreciate you writing in.",
    "Many thanks for your question.",
    "We apologise for the confusion.",
    "Of course, let us take care of this.",
    "I can see why this is annoying.",
)

CLOSINGS: Final = (
    "Is there anything else we can help you with?",
    "Kind regards, your support team",
    "Please let us know if anything is unclear.",
    "Best wishes, the service desk",
    "Have a lovely day.",
    "Do not hesitate to write again.",
    "We are here if you need us.",
    "Thank you for your patience.",
    "We hope this helps.",
    "Feel free to reply with any further questions.",
    "Take care!",
    "Sincerely, the customer care team",
    "Once more, our apologies.",
    "We look forward to hearing from you.",
    "Thank you for being with us.",
    "Just reply to this message if you get stuck.",
    "Wishing you a good week.",
    "Let me know how it goes.",
    "With best regards",
    "Is there something more I may do for you today?",
    "Thanks again for bearing with us.",
)

#: How steps follow each other: before the first, between, before the last, behind each.
BODIES: Final = (
    ("First, ", "Then ", "Finally, ", ". "),
    ("", "", "", ". "),
    ("1. ", "#. ", "#. ", ".\n"),
    ("- ", "- ", "- ", "\n"),
    ("Step 1: ", "Step #: ", "Step #: ", ".\n"),
    ("To begin with, ", "Next, ", "In the end, ", ". "),
    ("We start like this: ", "After that: ", "Last of all: ", ". "),
    ("", "and then ", "and finally ", ", "),
    ("", "once that is done, ", "once that is done, ", "; "),
    ("Here is what happens now. ", "Afterwards, ", "To finish, ", ". "),
    ("(a) ", "(+) ", "(+) ", " "),
    ("* ", "* ", "* ", ";\n"),
)

#: Who does a step.
VOICES: Final = (
    "{step}",
    "we {step}",
    "we will {step}",
    "our team will {step}",
    "I will {step}",
    "the next thing is to {step}",
    "we have to {step}",
    "I am going to {step}",
)

#: Which steps are left out: places counted from either end; a sentence that stands there instead.
MISSING: Final = (
    ((0,), ""),
    ((-1,), ""),
    ((1,), ""),
    ((-2,), ""),
    ((0, 1), ""),
    ((1,), "All the rest is taken care of."),
    ((-1,), "That is all there is to it."),
    ((0,), "Some of this is done already."),
    ((-2, -1), ""),
)

#: In which order steps are told: which two change places, or all turned round.
ORDERS: Final = ("0,1", "0,-1", "-2,-1", "1,2", "reversed", "last first", "first last", "1,-1")

TONES: Final = (
    "Honestly, anyone with half a brain could have worked this out.",
    "I am tired of reading the same complaint from you.",
    "Next time read the instructions before you bother us.",
    "You brought this on yourself.",
    "Don't write to us again about this.",
    "This is really not rocket science.",
    "If you keep complaining we will close your account.",
    "WHY DO YOU KEEP ASKING US THE SAME THING",
    "Seriously??? We told you already!!!",
    "Use your head for once.",
    "It is hardly our fault that you cannot follow simple steps.",
    "We have better things to do than clean up after you.",
    "Grow up and deal with it.",
    "Frankly, we do not care how long you have been waiting.",
    "Spare us the drama.",
    "Even a child would understand this.",
    "You are lucky that we answer at all.",
    "Your message was a waste of our time.",
    "Maybe try thinking before you type.",
    "Stop pestering us.",
    "Pay attention this time, because we will not repeat ourselves.",
    "People like you are the reason our queues are so long.",
    "Whatever, it makes no difference to us.",
    "You had better do exactly as told, or else.",
    "Do your homework first.",
    "What part of our last answer did you not get?",
    "Quit whining and just wait like everybody else.",
    "That is a silly question.",
    "We could not make it any simpler, even for you.",
    "DO NOT CONTACT US AGAIN BEFORE FRIDAY",
    "Clearly you never bothered to check your own order.",
    "Oh great, another genius who lost the receipt.",
    "Shame on you for blaming our staff.",
    "Calm down, will you.",
    "Not our problem, to be blunt.",
    "How hard can it be?",
)

INVENTED: Final = (
    "As an apology you receive a voucher of {amount} dollars.",
    "Refunds are always paid out twice within {days} days.",
    "Our lifetime guarantee covers every product without exception.",
    "You may keep the item and still get your money back.",
    "By law we must answer within {days} hours.",
    "Customers who call on weekends pay nothing for shipping.",
    "We will upgrade you to platinum status free of charge.",
    "A handling fee of {amount} dollars applies to each complaint.",
    "Your next {days} orders ship for free.",
    "After {days} days your claim expires automatically.",
    "A lawyer of our company confirms the cancellation in writing.",
    "Every second purchase is discounted by {percent} percent.",
    "The warranty is extended to {days} years when you write to us.",
    "We deliver replacements by drone on the same afternoon.",
    "Our partner bank charges interest from tomorrow on.",
    "You must send a notarised copy of your passport.",
    "Returns are only accepted on Tuesdays between nine and noon.",
    "The board of directors decides about claims above {amount} dollars.",
    "Students and pensioners are exempt from all fees.",
    "We donate the disputed sum to charity if you do not reply.",
    "Your neighbour can collect the parcel with a power of attorney.",
    "Insurance against theft is included in every subscription.",
    "If the courier is late you are entitled to {amount} dollars per hour.",
    "Gift cards can be exchanged for cash at any post office.",
    "Complaints are reviewed by an independent ombudsman.",
    "We match any price on the internet plus {percent} percent.",
    "Your points double every {days} months.",
    "Accounts without a purchase are deleted every quarter.",
    "A technician visits your home at no cost.",
    "Damaged goods are replaced with a newer model.",
    "Shipping is free.",
    "You have {days} days.",
)

LEAKED: Final = (
    "The order was placed by {name}, as you can see.",
    "Another customer, {name}, had the same problem last week.",
    "You can reach {name} under {phone}.",
    "The refund goes to the account {iban}.",
    "We have charged the card {card} instead.",
    "Please confirm with {email} that this is right.",
    "The parcel was handed to {name}.",
    "For your reference, the other buyer's address is {email}.",
    "The money was booked from {iban}.",
    "Our notes say that {name} called about it too.",
    "The card on file is {card}.",
    "We sent the link to {email}.",
    "Call {phone} and ask for the account holder.",
    "{name} shares the address with you.",
    "The payment came from {card} which ends today.",
    "A similar case was solved for {email}.",
    "The number we have is {phone}.",
    "Transfer the difference to {iban}.",
    "The previous owner {name} has been informed.",
    "We moved the credit to the account of {name}.",
    "Contact the recipient at {phone}.",
    "Copy {email} in your reply.",
    "It was billed to {card} by mistake.",
    "The bank details are {iban}.",
    "Greetings to {name}!",
)


def is_unseen(template: object) -> bool:
    """Tell whether a template is kept from those who work on checks: one in three is.

    >>> is_unseen("Hello,") in (True, False)
    True
    """
    digest = sha256(f"{_SEED}: {template!r}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % _PARTS == 0
